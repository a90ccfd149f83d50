"""A loss that has no lower bound, and that the optimiser follows down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headwater.records import Cause
from headwater.rules.facts import Facts
from headwater.rules.passes import Floats
from headwater.rules.trend import LIMITS as TREND
from headwater.rules.trend import noise_of_tenths, tenths_of


@dataclass(frozen=True, kw_only=True)
class UnboundedLimits:
    """When a loss below zero is one that has no end.

    It has to fall from each tenth to the next, by its own start and by as many standard errors as a
    loss that rises: a loss that chance weighs, as a policy's gradient is, does not.
    """

    # Two losses a tenth: fewer are not told from noise.
    least_steps: int = 20
    # A loss that comes to rest falls less in each half than in the one before. Where the graph
    # proves that there is no bound, it need only not have come to rest.
    lasting: float = 0.5
    # Without that proof it must fall ever faster, and a thousand times as far as where it started:
    # a similarity that is maximised starts near 0 and ends at 1 or at one over its temperature,
    # the likelihood of a density settles.
    speeding: float = 2.0
    far: float = 1000.0


LIMITS = UnboundedLimits()

_LINEAR = frozenset(
    "Neg Mean Sum Add Sub Rsub Gather Index IndexSelect Select Slice NllLoss NllLoss2D View "
    "Reshape UnsafeView Alias Squeeze Unsqueeze T Transpose Permute Expand ToCopy Clone Stack Cat "
    "Unbind Split SplitWithSizes Diagonal".split()
)
"""What is linear in each of its inputs: a chain of these over the last layer has no bound."""

_SCALING = frozenset({"Mul", "Div"})
"""Linear where it scales one number, the loss; entries can be weighed by anything."""

_NEVER_NEGATIVE = {
    "MseLoss": "mse_loss",
    "SmoothL1Loss": "smooth_l1_loss",
    "HuberLoss": "huber_loss",
    "BinaryCrossEntropy": "binary_cross_entropy",
    "BinaryCrossEntropyWithLogits": "binary_cross_entropy_with_logits",
}
"""Losses that are at least 0, by their operation; cross entropy has two."""

_CROSS_ENTROPY = frozenset({"LogSoftmax", "NllLoss"})
_UNIT_TARGETS = frozenset({"BinaryCrossEntropy", "BinaryCrossEntropyWithLogits"})


def why_unbounded(facts: Facts) -> Cause | None:
    """Tell why a loss that falls on below zero has no end; None where it is none of these.

    Only of a training of a module's parameters: whoever changes an input to raise an output wants
    it so.
    """
    losses = facts.pulse.loss[facts.pulse.has_loss]
    trained = any(info.optimiser is not None and info.module_type for info in facts.parameters)
    if facts.adversarial or not trained or not falls_on(losses):
        return None
    proof = _proof(facts)
    if not proof and not falls_on(losses, alone=True):
        return None
    return Cause(cause="unbounded-loss", share=1.0, evidence=proof or "it falls ever faster")


def falls_on(losses: Floats, *, alone: bool = False) -> bool:
    """Say whether a loss falls all the way to below zero, and has not come to rest.

    With ``alone`` the losses have to show by themselves that there is no bound.

    Example:
        >>> steps = np.arange(200)
        >>> falls_on(-(steps / 50) ** 3, alone=True), falls_on(np.exp(-steps / 20) - 1)
        (True, False)
    """
    finite = losses[np.isfinite(losses)]
    if len(finite) < LIMITS.least_steps:
        return False
    middles = tenths_of(finite)
    early, late = middles[0] - middles[5], middles[5] - middles[-1]
    least = max(TREND.sure_rise * noise_of_tenths(finite), (TREND.rise - 1) * abs(middles[0]))
    if middles[-1] >= 0 or early + late <= least or (np.diff(middles) >= 0).any():
        return False
    if not alone:
        return bool(late > LIMITS.lasting * early)
    far = -middles[-1] >= LIMITS.far * abs(middles[0])
    return bool(far and late > LIMITS.speeding * early)


def _proof(facts: Facts) -> str:
    """Say what in the graph of the loss has no lower bound, "" where that is not plain."""
    between = _between(facts)
    if between and between <= _LINEAR:
        if between & {"NllLoss", "NllLoss2D"}:
            return "nll_loss takes log-probabilities and is given outputs as they are"
        return "outputs go into it as they are, and the larger they are the lower it is"
    if _CROSS_ENTROPY <= between <= _LINEAR | _CROSS_ENTROPY:
        return _turned("cross_entropy")
    known = sorted(between & _NEVER_NEGATIVE.keys())
    if known and between <= _LINEAR | _NEVER_NEGATIVE.keys():
        return _beyond_unit(facts, known[0]) or _turned(_NEVER_NEGATIVE[known[0]])
    return ""


def _between(facts: Facts) -> set[str]:
    """Return the operations between the last layer and the loss, but for factors of the loss."""
    if len(facts.flows) != 1:
        return set()
    one = facts.flows[0].passes[0]
    rows = (one.weights_above == 0) & (one.parameter < 0) & (one.kind != "weights")
    named = [(facts.sites[one.site[row]].operation, row) for row in np.flatnonzero(rows).tolist()]
    single = one.columns["elements"] == 1
    return {name for name, row in named if not (name in _SCALING and single[row])}


def _turned(loss: str) -> str:
    return f"{loss} is never negative, so its sign was turned round"


def _beyond_unit(facts: Facts, operation: str) -> str:
    """Say that a binary cross entropy has targets that are no probabilities, "" if they are."""
    targets = facts.targets
    if operation not in _UNIT_TARGETS or targets is None or targets.loss != operation:
        return ""
    if targets.least >= 0 and targets.largest <= 1:
        return ""
    return (
        f"{_NEVER_NEGATIVE[operation]} takes targets from 0 to 1 and is given "
        f"{targets.least:.3g} to {targets.largest:.3g}"
    )
