"""A loss that has no lower bound, and that the optimiser follows down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headwater.records import Cause
from headwater.rules.facts import Facts
from headwater.rules.passes import Floats


@dataclass(frozen=True, kw_only=True)
class UnboundedLimits:
    """When a loss below zero is one that has no end."""

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
    "Neg Mean Sum Div Mul Add Sub Rsub Gather Index IndexSelect Select Slice NllLoss NllLoss2D "
    "View Reshape UnsafeView Alias Squeeze Unsqueeze T Transpose Permute Expand ToCopy Clone "
    "Stack Cat Unbind Split SplitWithSizes Diagonal".split()
)
"""What is linear in each of its inputs: a chain of these over the last layer has no bound."""

_NEVER_NEGATIVE = {
    "MseLoss": "mse_loss",
    "SmoothL1Loss": "smooth_l1_loss",
    "HuberLoss": "huber_loss",
    "BinaryCrossEntropy": "binary_cross_entropy",
    "BinaryCrossEntropyWithLogits": "binary_cross_entropy_with_logits",
    "LogSoftmax": "cross_entropy",
}
"""Losses that are at least 0, by the operation that is theirs alone."""


def why_unbounded(facts: Facts) -> Cause | None:
    """Tell why a loss that falls on below zero has no end; None where it is none of these.

    Only of a training of weights: whoever changes an input to raise an output wants it so.
    """
    losses = facts.pulse.loss[facts.pulse.has_loss]
    trained = any(info.optimiser is not None and info.module_type for info in facts.parameters)
    if facts.adversarial or not trained or not falls_on(losses):
        return None
    proof = _proof(facts)
    if not proof and not falls_on(losses, alone=True):
        return None
    evidence = proof or "it falls ever faster"
    return Cause(cause="unbounded-loss", share=1.0, evidence=evidence)


def falls_on(losses: Floats, *, alone: bool = False) -> bool:
    """Say whether a loss ends below zero, at its lowest, and has not come to rest.

    With ``alone`` the losses have to show by themselves that there is no bound.

    Example:
        >>> steps = np.arange(200)
        >>> falls_on(-(steps / 50) ** 3, alone=True), falls_on(np.exp(-steps / 20) - 1)
        (True, False)
    """
    finite = losses[np.isfinite(losses)]
    if len(finite) < LIMITS.least_steps:
        return False
    middles = np.array([np.median(tenth) for tenth in np.array_split(finite, 10)])
    early, late = middles[0] - middles[5], middles[5] - middles[-1]
    if not middles[-1] < min(0.0, middles[:-1].min()):
        return False
    if not alone:
        return bool(late > LIMITS.lasting * early)
    far = bool(-middles[-1] >= LIMITS.far * abs(middles[0]))
    return far and bool(late > LIMITS.speeding * early) and bool((np.diff(middles) < 0).all())


def _proof(facts: Facts) -> str:
    """Say what in the graph of the loss has no lower bound, "" where that is not plain."""
    if len(facts.flows) != 1:
        return ""
    one = facts.flows[0].passes[0]
    rows = (one.weights_above == 0) & (one.parameter < 0) & (one.kind != "weights")
    between = {facts.sites[site].operation for site in one.site[rows]}
    if between and between <= _LINEAR:
        if between & {"NllLoss", "NllLoss2D"}:
            return "nll_loss takes log-probabilities and is given outputs as they are"
        return "outputs go into it as they are, and the larger they are the lower it is"
    known = [words for operation, words in _NEVER_NEGATIVE.items() if operation in between]
    if known and between <= _LINEAR | _NEVER_NEGATIVE.keys():
        return f"{known[0]} is never negative, so its sign was turned round"
    return ""
