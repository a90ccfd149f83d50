"""HW203: a loss thrown about by steps that are too large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from headwater.records import Cause, Finding, Verdict
from headwater.rules.answers import cannot_say, healthy, wrong
from headwater.rules.curvature import of_curvature
from headwater.rules.facts import Facts
from headwater.rules.passes import Floats
from headwater.rules.sizes import ADVICE, REMEDIES, never_zeroed, why_too_large
from headwater.rules.sizes import CAUSES as TOO_LARGE
from headwater.rules.trend import runaway
from headwater.rules.wording import percent, unique, where


@dataclass(frozen=True, kw_only=True)
class OscillationLimits:
    """When a loss is thrown about.

    Figures of healthy trainings are from the tune half of the corpus, `docs/accuracy.md`.
    """

    # A step that changes a matrix by more than its own size: 0.23 at most in healthy trainings,
    # 1 to 70 in those with a rate a hundredfold too high, a summed loss or raw inputs.
    leap: float = 1.0
    # Small first weights may be outgrown in one step; only if the loss suffers it was too large.
    spike: float = 5.0
    # The last tenth over the best tenth, of a loss that did not fall: 3.7 at most in healthy
    # trainings (batches of one example), 18 and more at momentum 0.99.
    came_back: float = 10.0
    # Less will do where gradients are known to add up, which no healthy training's do.
    came_back_kept: float = 3.0
    # Sixteen swings of period 4, or four of period 16: fewer could be chance.
    least_steps: int = 64
    least_swings: int = 4
    # White noise of 64 values has 0.13 of its power in its strongest frequency on average, and
    # more than 0.35 once in 10,000 draws.
    power: float = 0.5
    # Swings under a tenth of the loss do not keep a network from learning.
    swing: float = 0.1
    # The data's own rhythm (batches in a fixed order) goes on when nothing is learnt any more;
    # swings that a step makes need steps that move the weights by a percent.
    relative_update: float = 0.003


LIMITS = OscillationLimits()


class HW203:
    """Oscillating loss.

    What it sees:
        A loss that rose to five times its first value as one step changed a weight matrix by more
        than the matrix itself; or that had been at a tenth of where it ends (a third, where
        gradients add up from step to step) and did not fall on the whole; or of which one frequency
        holds half of the power while updates still move the weights, without falling.

    Why it hurts:
        What one step learns the next one undoes; a leap early on throws the initialisation away,
        and often leaves dead or saturated units behind though the loss comes down again.

    Example:
        Adam at rate 1 on digits: the loss leaps from 2.3 to 900 in three steps, falls back, and
        stands where nothing has been learnt.

    References:
        Cohen et al. (2021), Gradient descent on neural networks typically occurs at the edge of
        stability, arXiv:2103.00065. Sutskever et al. (2013), On the importance of initialization
        and momentum in deep learning.
    """

    symptom: ClassVar[str] = "oscillating-loss"
    causes: ClassVar[tuple[str, ...]] = TOO_LARGE

    def judge(self, facts: Facts) -> Verdict:
        """Look for leaps, for what was lost again, and for swings."""
        if facts.adversarial or facts.trend.state == "unknown":
            return cannot_say(self, facts.trend.reason)
        losses = facts.pulse.loss[facts.pulse.has_loss]
        if facts.trend.state == "rose" or runaway(losses) is not None:
            return healthy(self, "the loss runs away (HW201)")
        finite = losses[np.isfinite(losses)]
        for found in (_leap(facts, finite), _came_back(facts, finite), _swing(facts, finite)):
            if found is not None:
                return wrong(self, [self._finding(facts, *found)])
        if _rhythm_of(facts)[1] >= LIMITS.swing and facts.trend.state != "fell":
            return cannot_say(self, "the loss has a rhythm, but the weights hardly move")
        return healthy(self, "the loss is not thrown about")

    def _finding(
        self, facts: Facts, step: int, what: str, numbers: dict[str, float | str]
    ) -> Finding:
        causes: tuple[Cause, ...] = never_zeroed(facts) or why_too_large(facts)
        return Finding(
            code="HW203",
            symptom=self.symptom,
            severity="warning" if facts.trend.state == "fell" else "error",
            confidence=0.8 if facts.trend.state == "fell" else 0.9,
            first_step=step,
            step=facts.last_step,
            where=unique([where(facts.sites[flow.root_site]) for flow in facts.flows]),
            message=f"{what}. {ADVICE[causes[0].cause]}",
            causes=causes,
            evidence={**numbers, **of_curvature(facts.pulse)},
            remedies=REMEDIES[causes[0].cause],
        )


_Found = tuple[int, str, dict[str, float | str]]


def _leap(facts: Facts, losses: Floats) -> _Found | None:
    updates = np.where(facts.matrices, np.nan_to_num(facts.movement.relative_update), 0.0)
    if not updates.size or not len(losses) or not losses[0] > 0:
        return None
    largest, highest = float(updates.max()), float(losses.max())
    if largest <= LIMITS.leap or highest < LIMITS.spike * losses[0]:
        return None
    row, parameter = np.unravel_index(int(updates.argmax()), updates.shape)
    name, step = facts.parameters[int(parameter)].name, int(facts.movement.step[row])
    return (
        step,
        f"Step {step} changed {name} by {largest:.2g} times its own size, and the loss leapt from "
        f"{losses[0]:.2g} to {highest:.2g}",
        {"relative_update": largest, "relative_update_limit": LIMITS.leap,
         "spike": highest / float(losses[0]), "spike_limit": LIMITS.spike},
    )  # fmt: skip


def _came_back(facts: Facts, losses: Floats) -> _Found | None:
    trend = facts.trend
    stood = trend.state in {"flat", "unsteady"} and trend.lowest > 0
    if not stood or trend.last < LIMITS.came_back_kept * trend.lowest:
        return None
    limit = LIMITS.came_back_kept if never_zeroed(facts) else LIMITS.came_back
    if trend.last < limit * trend.lowest:
        return None
    # A network trained before wanders at a loss of almost nothing, far below where it began.
    if trend.last < trend.start / LIMITS.came_back:
        return None
    step = int(facts.pulse.step[facts.pulse.has_loss][int(losses.argmin())])
    return (
        step,
        f"The loss had been at {trend.lowest:.2g} and ends at {trend.last:.2g}, near its start "
        f"({trend.start:.2g})",
        {"lowest": trend.lowest, "last": trend.last, "came_back_limit": limit},
    )


def _swing(facts: Facts, _losses: Floats) -> _Found | None:
    period, swing = _rhythm_of(facts)
    moves = _median_update(facts)
    still = not moves >= LIMITS.relative_update
    if swing < LIMITS.swing or facts.trend.state == "fell" or still:
        return None
    return (
        int(facts.pulse.step[facts.pulse.has_loss][-(facts.steps // 2) or 0]),
        f"The loss swings by {percent(swing)} of its level every {period:.2g} steps and does not "
        "fall",
        {"period_steps": period, "power_limit": LIMITS.power, "swing": swing,
         "swing_limit": LIMITS.swing, "relative_update": moves},
    )  # fmt: skip


def _rhythm_of(facts: Facts) -> tuple[float, float]:
    """Return the period of the loss's second half and its relative size, 0 if it has none."""
    losses = facts.pulse.loss[facts.pulse.has_loss]
    half = losses[len(losses) // 2 :]
    if len(half) < LIMITS.least_steps or not np.isfinite(half).all() or not half.mean():
        return 0.0, 0.0
    power, period = rhythm(half)
    return period, float(half.std() / abs(half.mean())) if power >= LIMITS.power else 0.0


def rhythm(losses: Floats) -> tuple[float, float]:
    """Return the share of power in the strongest frequency, and its period in steps.

    A line is taken out first. Neighbouring frequencies count with it, as a period that does not
    divide the length spreads over two.

    Example:
        >>> swings = 1 + 0.3 * np.cos(np.pi * np.arange(100))
        >>> power, period = rhythm(swings)
        >>> round(power, 2), round(period, 1)
        (1.0, 2.0)
        >>> rhythm(np.random.default_rng(0).normal(1, 0.1, 100))[0] < 0.3
        True
    """
    count = np.arange(len(losses))
    flat = losses - np.polyval(np.polyfit(count, losses, 1), count)
    spectrum = np.abs(np.fft.rfft(flat)) ** 2
    total = float(spectrum.sum())
    spectrum[: LIMITS.least_swings] = 0.0  # so slow is no rhythm
    if total <= 0 or not spectrum.any():
        return 0.0, float("inf")
    peak = int(np.argmax(spectrum))
    return float(spectrum[max(0, peak - 1) : peak + 2].sum()) / total, len(losses) / peak


def _median_update(facts: Facts) -> float:
    updates = facts.movement.relative_update[:, facts.matrices]
    late = updates[len(updates) // 2 :]
    return float(np.nanmedian(late)) if np.isfinite(late).any() else float("nan")
