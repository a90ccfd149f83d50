"""HW102: the gradient grows without bound, over the layers or over time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from headwater.records import Finding, Severity, Verdict, Where
from headwater.rules.answers import cannot_say, healthy, wrong
from headwater.rules.breaks import by_an_operation
from headwater.rules.facts import Facts
from headwater.rules.loops import pace
from headwater.rules.passes import MANY_CALLS, Bools, Floats, Flow, Pass
from headwater.rules.signal import Part, account, causes, mostly, parameter_growths, users
from headwater.rules.sizes import (
    ADVICE,
    REMEDIES,
    input_size,
    never_zeroed,
    output_errors,
    oversized_weights,
    weight_gain,
    why_too_large,
)
from headwater.rules.sizes import CAUSES as TOO_LARGE
from headwater.rules.sizes import LIMITS as SIZES
from headwater.rules.wording import place, unique, where


@dataclass(frozen=True, kw_only=True)
class ExplodingLimits:
    """Where growth becomes a fault."""

    # Three decades from the loss to a layer: critical networks stay within one, and ten layers
    # of doubled weights gain three.
    grown_decades: float = 3.0
    # A step that changes a layer by more than its own size forgets what it had learnt.
    relative_update: float = 1.0
    # Where the loss falls all the same, one such step (a first one, say) did no harm.
    often: float = 0.25
    # A hundredfold over the median of the hundred steps before: batch noise and rare hard batches
    # stay within a factor of ten, and clipping at a running quantile is within two.
    jump: float = 100.0
    history: int = 100
    least_history: int = 3
    # The loss must jump too: ten times its own recent level within the next steps.
    loss_jump: float = 10.0
    loss_steps: int = 10
    # Ten times chance level, or twice an error of five: networks drawn at their critical gain start
    # within 1.5 of chance (corpus, tune half), weights five times too large at 3 to 1e8.
    oversized: float = 10.0
    # Below this share of chance level the outputs have found their size.
    made_up_for: float = 0.3
    # Clipping tames it where the clipped norm is a tenth of the raw one or less.
    tamed: float = 0.1
    # Three samples outvote one odd batch.
    first_samples: int = 3


LIMITS = ExplodingLimits()

_REMEDIES: dict[str, tuple[str, ...]] = {
    "weight-scale-too-large": (
        "he-init",
        "xavier-init",
        "gradient-clipping",
        "batch-normalisation",
    ),
    "recurrent-expansion": ("gradient-clipping", "orthogonal-init", "lower-learning-rate"),
    "normalisation-depth": ("gradient-clipping", "residual-connections"),
    "learning-rate-too-high": ("lower-learning-rate", "gradient-clipping"),
}


class HW102:
    """Exploding gradient.

    What it sees:
        Growth of three decades or more from the weakest layer nearer to the loss to a layer
        further away, in most samples and in the newest, while a layer's step is larger than the
        layer itself or the loss does not fall; or a gradient norm that jumps to a hundred times
        its own running median together with the loss, or until it is not finite; or inputs or
        weights so large that the loss starts at ten times chance level and is still near it. A
        spike from which the loss recovers is none, and growth that clipping tames is told as
        information.

    Why it hurts:
        One step along a gradient far larger than usual throws the weights away, often to where
        nothing is finite.

    Example:
        Regression on raw targets (standard deviation 153) by SGD at rate 0.01: the gradient norm
        is 430 at the first step and infinite at the tenth. Standardised targets start at 7.

    References:
        Pascanu et al. (2013), On the difficulty of training recurrent neural networks,
        arXiv:1211.5063. Philipp et al. (2018), The exploding gradient problem demystified,
        arXiv:1712.05577.
    """

    symptom: ClassVar[str] = "exploding-gradient"
    causes: ClassVar[tuple[str, ...]] = tuple(dict.fromkeys([*_REMEDIES, *TOO_LARGE]))

    def judge(self, facts: Facts) -> Verdict:
        """Look for growth along the path, then for jumps in time."""
        enough_steps = facts.steps > LIMITS.least_history
        if not facts.flowing and not enough_steps:
            return cannot_say(self, f"{facts.steps} steps recorded, too few to see anything grow")
        flows = facts.flowing if facts.broken_step is None else facts.sound
        findings = [found for flow in flows if (found := _along_the_path(facts, flow)) is not None]
        if not findings and enough_steps:
            found = _in_time(facts)
            findings = [found] if found else []
        if not findings and facts.flowing:
            drawn = [_drawn_exploding(facts, flow) for flow in facts.flowing]
            findings = [one for one in drawn if one is not None] or _from_the_start(facts)
        if findings:
            return wrong(self, findings)
        return healthy(self, "the gradient keeps its size, over the layers and over time")


def _along_the_path(facts: Facts, flow: Flow) -> Finding | None:
    growth = np.array([parameter_growths(facts, one) for one in flow.passes])
    grown = mostly(growth >= LIMITS.grown_decades)
    broke, leaps, tamed = facts.broken_step is not None, _leaps(facts, flow), _tamed(facts, flow)
    suffers = broke or leaps or facts.trend.stalled or facts.trend.state == "rose"
    if not grown.any() or not (tamed or suffers):
        return None
    at = 0 if broke else -1  # where all broke, the first sample is the one that was still sound
    severity: Severity = "info" if tamed else "error" if broke or leaps else "warning"
    return _growth(facts, flow, at, np.where(grown, growth, -np.inf), severity)


def _drawn_exploding(facts: Facts, flow: Flow) -> Finding | None:
    """Tell of a gradient that grew in the first samples and threw weights away before it settled.

    So it is behind many batch normalisations: the leaps make the weights so large that the gradient
    is small from then on, and what they were drawn as is lost.
    """
    first = Flow(passes=flow.passes[: LIMITS.first_samples])
    growth = np.array([parameter_growths(facts, one) for one in first.passes])
    grown = np.nan_to_num(np.median(growth, axis=0)) >= LIMITS.grown_decades
    settled = facts.trend.state == "unknown" or facts.trend.made_up_for
    if settled or not grown.any() or _largest_update(facts, first) <= LIMITS.relative_update:
        return None
    return _growth(facts, first, 0, np.where(grown, growth, -np.inf), "warning")


def _growth(facts: Facts, flow: Flow, at: int, growth: Floats, severity: Severity) -> Finding:
    """Tell of growth at one pass; ``[pass, parameter]``, -inf where none is meant."""
    one = flow.passes[at]
    worst = int(np.nanargmax(growth[at]))
    owner = one.owners[worst]
    why = causes(account(one, owner, sign=1), 1, partial(_cause, one))
    decades = float(growth[at, worst])
    fast = pace(facts, one) if why and why[0].cause == "recurrent-expansion" else None
    advice = _TAMED if severity == "info" else _ADVICE.get(why[0].cause if why else "", _UNTAMED)
    return Finding(
        code="HW102",
        symptom=HW102.symptom,
        severity=severity,
        confidence=0.9 if severity == "error" else 0.6,
        first_step=flow.passes[int(np.argmax(growth[:, worst] >= LIMITS.grown_decades))].step,
        step=flow.newest.step,
        where=users(facts, one, np.flatnonzero(np.isfinite(growth[at])).tolist()),
        message=f"The gradient grows by {decades:.1f} decades on its way to "
        f"{place(where(facts.sites[one.site[owner]]))}"
        f"{'' if fast is None else f', {fast.words()}'}. {advice}",
        causes=why,
        evidence={
            "grown_decades": decades,
            "grown_decades_limit": LIMITS.grown_decades,
            **({} if fast is None else fast.numbers()),
            "largest_relative_update": _largest_update(facts, flow),
            "relative_update_limit": LIMITS.relative_update,
        },
        remedies=_REMEDIES[why[0].cause if why else "learning-rate-too-high"],
    )


_TAMED = "Clipping holds the steps down and the loss falls; smaller weights would do without it."
_UNTAMED = "Draw smaller weights (He or Xavier initialisation), or clip the gradient's norm."
_ADVICE = {
    "normalisation-depth": "Every normalisation before a ReLU multiplies it by about 1.2: add "
    "residual branches, or clip the gradient's norm.",
    "recurrent-expansion": "Draw orthogonal recurrent weights, and clip the gradient's norm.",
}


def _from_the_start(facts: Facts) -> list[Finding]:
    """Tell of outputs far too large from the start, if training has not made up for it."""
    trend = facts.trend
    out_of_scale = input_size(facts) >= SIZES.inputs or weight_gain(facts) >= SIZES.weights
    known = np.isfinite(trend.chance)
    first = float(facts.pulse.loss[facts.pulse.has_loss][0]) if facts.pulse.has_loss.any() else 0.0
    times = first / trend.chance if known else output_errors(facts)[0]
    learnt = known and trend.last < LIMITS.made_up_for * trend.chance
    if trend.state == "unknown" or not out_of_scale or learnt or not times >= LIMITS.oversized:
        return []
    why = why_too_large(facts)
    heavy = oversized_weights(facts) if why[0].cause == "weight-scale-too-large" else []
    what = f"{times:.2g} times chance level" if known else f"an error of {times / 2:.2g}"
    return [
        Finding(
            code="HW102",
            symptom=HW102.symptom,
            severity="warning",
            confidence=0.8 if known else 0.6,
            first_step=int(facts.pulse.step[0]),
            step=facts.last_step,
            where=users(facts, facts.flowing[-1].newest, heavy) or _loss_places(facts),
            message=f"The loss starts at {what}, as the outputs are far too large, and training "
            f"has not made up for it. {ADVICE[why[0].cause]}",
            causes=why,
            evidence={
                "oversized": times,
                "oversized_limit": LIMITS.oversized,
                "input_size_limit": SIZES.inputs,
                "weight_gain_limit": SIZES.weights,
            },
            remedies=REMEDIES[why[0].cause],
        )
    ]


def _fell(facts: Facts) -> bool:
    return facts.trend.state == "fell"


def _updates(facts: Facts, flow: Flow) -> Floats:
    rows = [facts.movement.row(one.step) for one in flow.passes]
    known = facts.movement.relative_update[[row for row in rows if row is not None]]
    return np.where(facts.matrices & np.isfinite(known), known, 0.0)


def _largest_update(facts: Facts, flow: Flow) -> float:
    return float(_updates(facts, flow).max(initial=0.0))


def _leaps(facts: Facts, flow: Flow) -> bool:
    """Say whether steps are larger than the weights; where the loss falls all the same, often."""
    leaps = _updates(facts, flow).max(axis=1, initial=0.0) > LIMITS.relative_update
    often = leaps.sum() >= LIMITS.often * len(leaps)
    return bool(leaps.any() and (often or not _fell(facts)))


def _tamed(facts: Facts, flow: Flow) -> bool:
    """Say whether clipping cuts the gradient to a tenth in most samples, and the loss falls."""
    rows = [facts.movement.row(one.step) for one in flow.passes]
    known = [row for row in rows if row is not None]
    raw = np.sqrt(np.nansum(facts.movement.unscaled_norm[known] ** 2, axis=1))
    clipped = np.sqrt(np.nansum(facts.movement.clipped_norm[known] ** 2, axis=1))
    cut: Bools = (raw > 0) & (clipped <= LIMITS.tamed * raw)
    return bool(len(cut) and cut.mean() >= 0.5 and _fell(facts))


def _cause(one: Pass, part: Part) -> str:
    if part.kind == "weights":
        many = one.calls[part.row] >= MANY_CALLS
        return "recurrent-expansion" if many else "weight-scale-too-large"
    return "normalisation-depth" if part.kind == "normalisation" else ""


def _in_time(facts: Facts) -> Finding | None:
    """Judge the whole gradient's norm against its own past, and the loss with it."""
    if facts.adversarial:
        return None
    at = _first_jump(facts)
    if at is None or (not np.isfinite(facts.pulse.total_norm[at]) and by_an_operation(facts)):
        return None
    pulse = facts.pulse
    before = float(np.median(_before(pulse.total_norm, at)))
    norm, step = float(pulse.total_norm[at]), int(pulse.step[at])
    why = never_zeroed(facts) or why_too_large(facts)
    size = f"{norm:.1e}" if np.isfinite(norm) else "not finite"
    return Finding(
        code="HW102",
        symptom=HW102.symptom,
        severity="error",
        confidence=0.9,
        first_step=step,
        step=facts.last_step,
        where=_loss_places(facts),
        message=f"The gradient's norm jumps from {before:.2g} to {size} at step {step}, and the "
        f"loss with it. {ADVICE[why[0].cause]}",
        causes=why,
        evidence={
            **({"norm": norm} if np.isfinite(norm) else {}),
            "running_median": before,
            "jump_limit": LIMITS.jump,
            "loss_jump_limit": LIMITS.loss_jump,
        },
        remedies=REMEDIES[why[0].cause],
    )


def _first_jump(facts: Facts) -> int | None:
    """Return the row of the first jump from which the loss does not come back."""
    pulse = facts.pulse
    norms = np.where(pulse.skipped, np.nan, pulse.total_norm)
    # No median is below the lowest, so only these rows are worth one; long runs have many rows.
    for row in np.flatnonzero(norms > LIMITS.jump * _lowest_before(norms)).tolist():
        past = _before(norms, row)
        jumps = len(past) >= LIMITS.least_history and norms[row] > LIMITS.jump * np.median(past) > 0
        if jumps and _loss_is_lost(pulse.loss, row):
            return int(row)
    return None


def _before(values: Floats, row: int) -> Floats:
    past = values[max(0, row - LIMITS.history) : row]
    return past[np.isfinite(past)]


def _lowest_before(norms: Floats) -> Floats:
    """Return the lowest finite norm of the steps before each, infinity before the first."""
    padded = np.concatenate([np.full(LIMITS.history, np.inf), norms])
    padded[~np.isfinite(padded)] = np.inf
    lowest: Floats = sliding_window_view(padded, LIMITS.history).min(axis=1)[: len(norms)]
    return lowest


def _loss_is_lost(loss: Floats, row: int) -> bool:
    """Say whether the loss jumps within the next steps and is still high at the end."""
    past = _before(loss, row)
    if not len(past):
        return False
    limit = LIMITS.loss_jump * float(np.median(np.abs(past)))
    near = loss[row : row + LIMITS.loss_steps]
    end = loss[max(row, len(loss) - LIMITS.loss_steps) :]

    def lost(values: Floats) -> Bools:
        return ~np.isfinite(values) | (np.abs(values) > limit)

    return bool(lost(near).any() and lost(end).mean() > 0.5)


def _loss_places(facts: Facts) -> tuple[Where, ...]:
    return unique([where(facts.sites[flow.root_site]) for flow in facts.flows])
