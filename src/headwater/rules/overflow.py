"""HW303: numbers on their way to their format's largest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from headwater.records import Cause, Finding, Verdict, Where
from headwater.rules.answers import cannot_say, healthy, wrong
from headwater.rules.expressions import instead
from headwater.rules.facts import Facts
from headwater.rules.headroom import Outlook, outlook
from headwater.rules.passes import Floats, Ints
from headwater.rules.series import largest_series
from headwater.rules.wording import place, where
from headwater.runs.spectra import gradient_dtypes
from headwater.theory.precision import is_format, number_format


@dataclass(frozen=True, kw_only=True)
class OverflowLimits:
    """When growth is an alarm; a trend that is flat, or not sure, says nothing."""

    # Three points are fitted by chance too well to give a slope an interval.
    least_samples: int = 5
    # The newest half of the steps: early growth, which is fast in every training, ends there.
    newest_share: float = 0.5
    most_samples: int = 32
    # Even at the slowest growth of the interval it overflows before the run is twice as long: the
    # run has then grown at that pace for as long as it has left.
    horizon: float = 1.0
    # A GradScaler finds its scale within sixteen halvings; then it doubles every 2,000 steps.
    least_scaled_steps: int = 100
    # HW301's limit: a scale under 1 is no scale.
    least_scale: float = 1.0


LIMITS = OverflowLimits()


class HW303:
    """Overflow risk.

    What it sees:
        The largest entry of each activation's output, of the exponentials and sums of a softmax
        written out, and of each gradient (where no GradScaler looks after it), sample by sample,
        against the largest number of its dtype. It speaks where the newest half grows for sure and
        would overflow before the run is twice as long, even at the slowest growth of a 95 %
        interval. Of a GradScaler it watches that the scale does not fall towards 1.

    Why it hurts:
        From the step at which it overflows, the output is infinite and the loss NaN.

    Example:
        A residual network without normalisation in float16, whose outputs double every 50 steps.

    References:
        Micikevicius et al. (2018), Mixed precision training, arXiv:1710.03740, section 3.
    """

    symptom: ClassVar[str] = "overflow-risk"
    causes: ClassVar[tuple[str, ...]] = ("growing-numbers", "falling-loss-scale")

    def judge(self, facts: Facts) -> Verdict:
        """Fit the growth of all that was sampled."""
        if facts.broken_step is not None:
            return cannot_say(self, f"the numbers broke at step {facts.broken_step}; see HW301")
        watched = [*_at_operations(facts), *_gradients(facts), *_loss_scale(facts)]
        fitted = [(one, seen) for one in watched if (seen := _fit(one)) is not None]
        if not fitted:
            most = max((len(one.step) for one in watched), default=0)
            return cannot_say(
                self,
                f"{most} samples of the largest numbers, {LIMITS.least_samples} needed to tell "
                "growth from chance",
            )
        horizon = LIMITS.horizon * (facts.last_step + 1)
        near = [
            (one, seen) for one, seen in fitted if seen.grows and seen.steps_left_ends[1] <= horizon
        ]
        if near:
            one, seen = min(near, key=lambda pair: pair[1].steps_left)
            return wrong(self, [_finding(facts, one, seen, len(near))])
        return healthy(self, "nothing grows towards the largest number of its format")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Watched:
    what: str
    place: Where
    dtype: str
    limit: float
    step: Ints
    largest: Floats


def _at_operations(facts: Facts) -> Iterator[_Watched]:
    """Yield what goes into activations (the layers' outputs), and what comes out of operations."""
    for column, what in (("input_largest", "input"), ("output_largest", "output")):
        for series in largest_series(facts.run, column):
            site = facts.sites[series.site]
            yield _Watched(
                what=f"The {what} of {site.operation}",
                place=where(site),
                dtype=series.dtype,
                limit=number_format(series.dtype).largest,
                step=series.step,
                largest=series.largest,
            )


def _gradients(facts: Facts) -> Iterator[_Watched]:
    """Yield the gradients; a GradScaler lowers its scale before they overflow."""
    if np.isfinite(facts.pulse.loss_scale).any():
        return
    movement = facts.movement
    for index, dtype in gradient_dtypes(facts.run).items():
        if index >= len(facts.parameters) or not is_format(dtype):
            continue
        largest = movement.gradient_max[:, index]
        known = ~np.isnan(largest)
        info = facts.parameters[index]
        yield _Watched(
            what="The gradient",
            place=Where(module=info.module, parameter=info.name),
            dtype=dtype,
            limit=number_format(dtype).largest,
            step=movement.step[known],
            largest=largest[known],
        )


def _loss_scale(facts: Facts) -> Iterator[_Watched]:
    """Yield the inverse of the loss scale: it grows towards 1 as the scale falls."""
    scale, step = facts.pulse.loss_scale, facts.pulse.step
    known = np.isfinite(scale) & (scale > 0)
    if known.sum() >= LIMITS.least_scaled_steps and scale[known][-1] > LIMITS.least_scale:
        yield _Watched(
            what="The loss scale",
            place=Where(),
            dtype="",
            limit=1 / LIMITS.least_scale,
            step=step[known],
            largest=1 / scale[known],
        )


def _fit(one: _Watched) -> Outlook | None:
    """Fit the newest half of the steps, or the newest samples where that half has too few."""
    if len(one.step) < LIMITS.least_samples:
        return None
    start = one.step[-1] - LIMITS.newest_share * (one.step[-1] - one.step[0])
    newest = max(int((one.step >= start).sum()), LIMITS.least_samples)
    rows = np.arange(len(one.step) - newest, len(one.step))
    if len(rows) > LIMITS.most_samples:
        rows = rows[np.linspace(0, len(rows) - 1, LIMITS.most_samples).round().astype(int)]
    return outlook(one.step[rows], one.largest[rows], one.limit)


def _finding(facts: Facts, one: _Watched, seen: Outlook, others: int) -> Finding:
    low, high = seen.steps_left_ends
    left = f"{seen.steps_left:,.0f} steps ({low:,.0f} to {high:,.0f})"
    pace = f"a factor 2 every {1 / seen.slope:,.3g} steps"
    if one.dtype:
        message = (
            f"{one.what} of {place(one.place)} grows by {pace} and has a factor "
            f"{_factor(seen.binades)} left to {one.dtype}'s largest number: at this rate it "
            f"overflows in {left}. "
        )
    else:
        message = (
            f"{one.what} falls by {pace} and reaches 1 in {left}, where no scale keeps the "
            "gradient finite. "
        )
    return Finding(
        code="HW303",
        symptom=HW303.symptom,
        severity="warning",
        confidence=0.8,
        first_step=int(one.step[0]),
        step=facts.last_step,
        where=(one.place,) if one.place != Where() else (),
        causes=(
            Cause(
                cause="growing-numbers" if one.dtype else "falling-loss-scale",
                share=1.0,
                evidence=f"{seen.slope:.3g} binades a step "
                f"({seen.slope_ends[0]:.3g} to {seen.slope_ends[1]:.3g})",
            ),
        ),
        message=message + _cure(facts, one),
        evidence={
            "binades_left": seen.binades,
            "binades_a_step": seen.slope,
            "steps_left": seen.steps_left,
            "steps_left_low": low,
            "steps_left_high": high,
            "steps_left_limit": LIMITS.horizon * (facts.last_step + 1),
            "growing": others,
        },
        remedies=("gradient-clipping", "lower-learning-rate", "bfloat16")
        if one.dtype != "bfloat16"
        else ("gradient-clipping", "lower-learning-rate"),
    )


def _factor(binades: float) -> str:
    return f"{2.0**binades:,.3g}" if binades < 30 else f"2^{binades:.0f}"


def _cure(facts: Facts, one: _Watched) -> str:
    advice = instead(facts, one.place)
    if advice:
        return advice[:1].upper() + advice[1:] + "."
    wide = "" if one.dtype in ("float32", "bfloat16", "float64") else ", or use bfloat16"
    return f"Normalise what grows, lower the learning rate{wide}."
