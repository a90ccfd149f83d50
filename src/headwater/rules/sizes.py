"""How large inputs, errors and weights are in the first sample: why steps can be too large."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from headwater.records import Cause
from headwater.rules.curvature import LIMITS as CURVATURE
from headwater.rules.curvature import slopes_taken, step_times_curvature
from headwater.rules.facts import Facts
from headwater.rules.loops import Pace, in_loop, pace
from headwater.rules.targets import LIMITS as TARGETS
from headwater.rules.unbounded import why_unbounded

_SQUARED = {"MseLoss"}
_CROSS = {"NllLoss", "NllLoss2D"}


@dataclass(frozen=True, kw_only=True)
class SizeLimits:
    """Where a size is out of scale.

    Healthy is the tune half of the corpus, `docs/accuracy.md`.
    """

    # Root mean square of the inputs as the first weights' gradient tells it. Standardised inputs
    # read 1 to 3, as rows of a batch add up coherently by the root of their number at most.
    inputs: float = 10.0
    # A mean over N entries has sqrt(N) F / (2 sqrt(L)) = 1 exactly, a sum sqrt(N).
    summed_square: float = 3.0
    # A mean of cross entropies over B examples has a gradient of norm sqrt(2/B) at most.
    summed_cross: float = 1.5
    # Root mean square of twice the error; standardised targets start at 2 to 3.
    error: float = 10.0
    # Fan-in times the variance of the weights: He draws 2, Xavier 1.
    weights: float = 10.0
    # Orthogonal weights have a spectral radius of 1, torch's own recurrent ones 0.58; and a
    # gradient that a loop makes tenfold is one that its weights, not its losses, have grown.
    radius: float = 1.2
    grown_decades: float = 1.0
    # Momentum of 0.95 averages 20 steps, and takes 20 more to turn round.
    momentum: float = 0.95
    # The norm's change from step to step, and that over the loss's: in the corpus's tune half
    # 0.04 and 0.4 of the loss's at most where gradients are never zeroed, and the norm ends at 40
    # times its first or more. A network thrown about by its rate reaches 0.12 and ten times.
    smooth: float = 0.07
    smoother: float = 0.5
    added_up: float = 20.0
    least_steps: int = 30
    # The share of the slope along a step that the step takes away: 0.03 at most in most of the
    # corpus's tune half where gradients are never zeroed, whose norm grew twentyfold. Trainings
    # that converge come down to 0.02 with a norm that shrank; those whose rate is tiny do not move.
    slope_kept: float = 0.03
    slope_path: float = 1.0
    slope_grown: float = 5.0
    least_slopes: int = 5


LIMITS = SizeLimits()

ADVICE = {
    "gradients-not-zeroed": "Gradients add up from step to step: call optimizer.zero_grad().",
    "unbounded-loss": "Turn the loss's sign, or give it what it takes: it needs a least value.",
    "loss-reduction": "Take the loss's mean over the batch, or divide the rate by its size.",
    "unscaled-inputs": "Standardise the inputs.",
    "unscaled-targets": "Standardise the targets.",
    "weight-scale-too-large": "Draw smaller weights (He or Xavier initialisation).",
    "recurrent-expansion": "Draw orthogonal recurrent weights, and clip the gradient's norm.",
    "momentum-too-high": "Lower the momentum to 0.9.",
    "learning-rate-too-high": "Lower the learning rate tenfold, or clip the gradient's norm.",
}
CAUSES = tuple(ADVICE)
"""What makes steps too large."""

REMEDIES: dict[str, tuple[str, ...]] = {
    "gradients-not-zeroed": ("zero-gradients",),
    "unbounded-loss": ("loss-sign", "bounded-loss"),
    "loss-reduction": ("mean-reduction", "lower-learning-rate"),
    "unscaled-inputs": ("standardise-inputs", "batch-normalisation"),
    "unscaled-targets": ("standardise-targets", "gradient-clipping"),
    "weight-scale-too-large": ("he-init", "xavier-init", "batch-normalisation"),
    "recurrent-expansion": ("orthogonal-init", "gradient-clipping"),
    "momentum-too-high": ("lower-momentum", "lower-learning-rate"),
    "learning-rate-too-high": ("lower-learning-rate", "gradient-clipping"),
}


def input_size(facts: Facts) -> float:
    """Return the inputs' root mean square, from the first weights' gradient; NaN if not known.

    The gradient of weights is the sum over examples of output gradient times input, so its norm
    over the output gradient's is the inputs' root mean square times the root of the fan-in, where
    examples are independent. Weights of a loop, used many times, are left out.
    """
    found = []
    for flow in facts.flows:
        one = flow.passes[0]
        rows = {p: row for p, row in one.owners.items() if row >= 0}
        deepest = max((one.weights_above[row] for row in rows.values()), default=0)
        for leaf in one.leaves.tolist():
            parameter = int(one.parameter[leaf])
            row, shape = rows.get(parameter, -1), facts.parameters[parameter].shape
            if row < 0 or len(shape) < 2 or one.weights_above[row] < deepest:
                continue
            if one.calls[row] > 1 or facts.sites[one.site[row]].operation.startswith("Embedding"):
                continue
            if np.isfinite(one.level[leaf]) and np.isfinite(one.level[row]):
                ratio = 10 ** float(one.level[leaf] - one.level[row])
                found.append(ratio / float(np.sqrt(np.prod(shape[1:]))))
    return max(found, default=np.nan)


def output_errors(facts: Facts) -> tuple[float, float, float]:
    """Return how the loss's gradient at the outputs stands to what a mean would give.

    Twice the root mean square error of a squared loss (NaN for others), the factor by which its
    gradient exceeds a mean's, and the gradient's norm for a cross entropy (NaN for others).
    """
    for flow in facts.flows:
        one = flow.passes[0]
        at = np.flatnonzero(facts.pulse.step == one.step)
        outputs = np.flatnonzero((one.kind == "weights") & (one.weights_above == 0))
        loss = float(facts.pulse.loss[at[0]]) if len(at) else np.nan
        if len(outputs) != 1 or not loss > 0 or not np.isfinite(one.level[outputs[0]]):
            continue
        norm, entries = 10 ** one.level[outputs[0]], one.columns["elements"][outputs[0]]
        near = {facts.sites[site].operation for site in one.site[one.weights_above == 0]}
        if near & _SQUARED:
            factor = float(np.sqrt(entries) * norm / (2 * np.sqrt(loss)))
            return float(np.sqrt(entries) * norm), factor, np.nan
        if near & _CROSS:
            return np.nan, np.nan, float(norm)
    return np.nan, np.nan, np.nan


def weight_gain(facts: Facts) -> float:
    """Return the largest fan-in times variance of any matrix in the first sample; NaN if none."""
    return max(_gains(facts).values(), default=np.nan)


def oversized_weights(facts: Facts) -> list[int]:
    """Return the matrices that were drawn too large, in the order of the parameters."""
    return [index for index, gain in _gains(facts).items() if gain >= LIMITS.weights]


def _gains(facts: Facts) -> dict[int, float]:
    norms = facts.movement.weight_norm
    if not len(norms):
        return {}
    return {
        index: float(norms[0, index]) ** 2 / info.shape[0]
        for index, info in enumerate(facts.parameters)
        if facts.matrices[index] and np.isfinite(norms[0, index]) and _multiplies(facts, index)
    }


def _multiplies(facts: Facts, index: int) -> bool:
    """Say whether a matrix multiplies its input; an embedding's rows are looked up."""
    return facts.parameters[index].module_type != "Embedding"


def why_too_large(facts: Facts) -> tuple[Cause, ...]:
    """Tell why steps are too large, the likeliest cause first; the rate if nothing else is."""
    if (endless := why_unbounded(facts)) is not None:
        return (endless,)
    inputs, gain = input_size(facts), weight_gain(facts)
    error, factor, cross = output_errors(facts)
    found = []
    if factor >= LIMITS.summed_square or cross >= LIMITS.summed_cross:
        times = factor if factor >= LIMITS.summed_square else cross
        found.append(("loss-reduction", f"the loss's gradient is {times:.3g} times what a mean "
                      "over the batch can give, as of a sum"))  # fmt: skip
    if inputs >= LIMITS.inputs:
        found.append(("unscaled-inputs", f"the inputs' root mean square is about {inputs:.2g}"))
    if gain >= LIMITS.weights:
        found.append(_of_weights(facts, gain))
    elif (loop := _growing_loop(facts)) is not None:
        grown = (
            f"a loop of {loop.calls} calls makes the gradient grow by {loop.decades:.1f} decades"
        )
        found.append(("recurrent-expansion", f"{grown} ({loop.words()})"))
    targets = facts.targets
    if targets is not None and targets.size >= TARGETS.size:
        found.append(("unscaled-targets", f"{targets.words}, about 1 is usual"))
    elif targets is None and error >= LIMITS.error and not found:
        found.append(("unscaled-targets", f"the first error is {error / 2:.3g}, about 1 is usual"))
    if not found:
        return _of_the_optimiser(facts)
    weights = [2.0**-rank for rank in range(len(found))]
    return tuple(
        Cause(cause=cause, share=round(weight / sum(weights), 3), evidence=evidence)
        for weight, (cause, evidence) in zip(weights, found, strict=True)
    )


def _of_weights(facts: Facts, gain: float) -> tuple[str, str]:
    what = f"weights multiply the mean square by up to {gain:.3g}"
    loops = [flow.passes[0] for flow in facts.flows if in_loop(flow.passes[0])]
    if not loops:
        return "weight-scale-too-large", what
    fast = pace(facts, loops[0])
    return "recurrent-expansion", what if fast is None else f"{what} ({fast.words()})"


def _growing_loop(facts: Facts) -> Pace | None:
    """Return the pace of a loop whose weights make the gradient grow in the first sample."""
    for flow in facts.flows:
        fast = pace(facts, flow.passes[0])
        if fast and fast.radius >= LIMITS.radius and fast.decades >= LIMITS.grown_decades:
            return fast
    return None


def _of_the_optimiser(facts: Facts) -> tuple[Cause, ...]:
    momenta = [info.settings.get("momentum") for info in facts.optimisers]
    largest = max((one for one in momenta if isinstance(one, float)), default=0.0)
    taken = step_times_curvature(facts.pulse)
    seen = "inputs, errors and weights are of ordinary size in the first sample"
    if taken > CURVATURE.overshoots:
        seen = f"a step times the curvature along it is {taken:.2g}, and beyond 2 it ends higher"
    rate = Cause(cause="learning-rate-too-high", share=1.0, evidence=seen)
    if largest < LIMITS.momentum:
        return (rate,)
    evidence = f"momentum {largest:g} adds up {1 / max(1 - largest, 1e-9):.0f} steps"
    return (
        Cause(cause="momentum-too-high", share=0.9, evidence=evidence),
        replace(rate, share=0.1),
    )


def never_zeroed(facts: Facts) -> tuple[Cause, ...]:
    """Tell that gradients add up over the steps: their norm is far smoother than the loss.

    A fresh gradient changes from batch to batch as the loss does. A sum over all steps so far
    changes by one part in their number, and grows. Parameters that no optimiser holds are left
    out, as nothing zeroes theirs.
    """
    norms = _held_norms(facts)
    losses = np.abs(facts.pulse.loss[facts.pulse.has_loss])
    losses, norms = (one[np.isfinite(one) & (one > 0)] for one in (losses, norms))
    if min(len(losses), len(norms)) < LIMITS.least_steps:
        return ()
    grown = float(np.median(norms[-20:]) / norms[0])
    if kept := _slope_stays(facts, grown):
        return kept
    of_loss, of_norm = (float(np.median(np.abs(np.diff(np.log(one))))) for one in (losses, norms))
    if of_norm > min(LIMITS.smoother * of_loss, LIMITS.smooth) or grown < LIMITS.added_up:
        return ()
    evidence = (
        f"the loss changes by {100 * of_loss:.2g} % from step to step, the gradient's norm by "
        f"{100 * of_norm:.2g} % only"
    )
    return (Cause(cause="gradients-not-zeroed", share=1.0, evidence=evidence),)


def _slope_stays(facts: Facts, grown: float) -> tuple[Cause, ...]:
    """Tell it from long steps that change next to nothing of the slope along them."""
    taken = np.abs(slopes_taken(facts.pulse))
    late = taken[len(taken) // 4 :]
    updates = np.nan_to_num(facts.movement.relative_update[:, facts.matrices])
    if len(late) < LIMITS.least_slopes or not updates.size:
        return ()
    path = float(np.median(updates.max(axis=1))) * facts.steps
    share = float(np.median(late))
    if share > LIMITS.slope_kept or path < LIMITS.slope_path or grown < LIMITS.slope_grown:
        return ()
    evidence = (
        f"steps move the weights {path:.1f} times their size and take {100 * share:.2g} % of the "
        f"slope along them, as each gradient is the last one and a little more"
    )
    return (Cause(cause="gradients-not-zeroed", share=1.0, evidence=evidence),)


def _held_norms(facts: Facts) -> np.typing.NDArray[np.float64]:
    held = np.array([info.optimiser is not None for info in facts.parameters], dtype=bool)
    rows = [one or () for one in facts.run.pulse["gradient_norms"].to_pylist()]
    squares = [
        sum(norm * norm for norm, mine in zip(row, held, strict=False) if mine and norm is not None)
        for row in rows
    ]
    return np.sqrt(np.array(squares, dtype=np.float64))
