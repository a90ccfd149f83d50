"""HW203: a loss thrown about by steps that are too large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from headwater.records import Cause, Finding, Verdict
from headwater.rules.answers import cannot_say, healthy, wrong
from headwater.rules.facts import Facts
from headwater.rules.passes import Floats
from headwater.rules.sizes import ADVICE, REMEDIES, never_zeroed, why_too_large
from headwater.rules.trend import runaway
from headwater.rules.wording import unique, where


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
    # Differences of independent losses have a correlation of -0.5; of a swing of two steps, -1.
    swing: float = -0.75
    # Relative size of such a swing: a tenth is no trouble.
    swing_size: float = 0.2


LIMITS = OscillationLimits()


class HW203:
    """Oscillating loss.

    What it sees:
        A loss that rose to five times its first value as one step changed a weight matrix by more
        than the matrix itself; or that had been at a tenth of where it ends and did not fall on
        the whole; or that swings up and down every other step without falling.

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
            evidence=numbers,
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
    if not stood or trend.last < LIMITS.came_back * trend.lowest:
        return None
    # A network trained before wanders at a loss of almost nothing, far below where it began.
    if trend.last < trend.start / LIMITS.came_back:
        return None
    step = int(facts.pulse.step[facts.pulse.has_loss][int(losses.argmin())])
    return (
        step,
        f"The loss had been at {trend.lowest:.2g} and ends at {trend.last:.2g}, near its start "
        f"({trend.start:.2g})",
        {"lowest": trend.lowest, "last": trend.last, "came_back_limit": LIMITS.came_back},
    )


def _swing(facts: Facts, losses: Floats) -> _Found | None:
    late = losses[len(losses) // 2 :]
    changes = np.diff(late)
    if facts.trend.state == "fell" or not changes.std() > 0:
        return None
    correlation = float(np.corrcoef(changes[:-1], changes[1:])[0, 1])
    size = float(np.median(np.abs(changes)) / abs(np.median(late)))
    if correlation > LIMITS.swing or size < LIMITS.swing_size:
        return None
    return (
        int(facts.pulse.step[len(facts.pulse.step) // 2]),
        f"The loss swings up and down every other step, by {100 * size:.0f} %, and does not fall",
        {"correlation": correlation, "correlation_limit": LIMITS.swing, "swing": size},
    )
