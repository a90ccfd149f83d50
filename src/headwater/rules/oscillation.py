"""HW203: a loss that swings and gets nowhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from headwater.records import Cause, Finding, Verdict, Where
from headwater.rules.answers import cannot_say, healthy, wrong
from headwater.rules.facts import Facts
from headwater.rules.passes import Floats
from headwater.rules.wording import percent, where


@dataclass(frozen=True, kw_only=True)
class OscillationLimits:
    """When swings are the training's own and not the data's."""

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
    # From here on a step remembers fifty before it: its own swings are slow.
    momentum: float = 0.98


LIMITS = OscillationLimits()


class HW203:
    """Oscillating loss.

    What it sees:
        A loss that does not fall, of which one frequency holds half of the power, with swings of a
        tenth of its level or more, while updates still move the weights by a third of a percent a
        step. Adversarial trainings swing by design and are left alone.

    Why it hurts:
        The step jumps over the valley it should go down into.

    Example:
        Gradient descent at a rate just under two over the curvature: the loss alternates between
        two values.

    References:
        LeCun et al. (1998), Efficient BackProp, section 4.6; Cohen et al. (2021), Gradient descent
        on neural networks typically occurs at the edge of stability, arXiv:2103.00065, for swings
        beside which the loss still falls.
    """

    symptom: ClassVar[str] = "oscillating-loss"

    def judge(self, facts: Facts) -> Verdict:
        """Look for a rhythm in the second half of a loss that does not fall."""
        if facts.adversarial:
            return cannot_say(self, facts.trend.reason)
        losses = facts.pulse.loss[facts.pulse.has_loss]
        half = losses[len(losses) // 2 :]
        if len(half) < LIMITS.least_steps or not np.isfinite(half).all():
            return cannot_say(self, f"fewer than {2 * LIMITS.least_steps} losses that are finite")
        if facts.trend.state == "fell":
            return healthy(self, "the loss falls")
        power, period = rhythm(half)
        swing = float(half.std() / abs(half.mean())) if half.mean() else 0.0
        moves = _median_update(facts)
        if power < LIMITS.power or swing < LIMITS.swing:
            return healthy(self, "the loss has no rhythm of its own")
        if not moves >= LIMITS.relative_update:
            return cannot_say(self, "the loss has a rhythm, but the weights hardly move")
        return wrong(self, [self._finding(facts, power, period, swing, moves)])

    def _finding(
        self, facts: Facts, power: float, period: float, swing: float, moves: float
    ) -> Finding:
        slow = _momentum(facts) >= LIMITS.momentum and period > 4
        cause = "momentum-too-high" if slow else "learning-rate-too-high"
        what = "momentum" if slow else "learning rate"
        evidence = f"a step moves a weight by {percent(moves)} of its size"
        return Finding(
            code="HW203",
            symptom=self.symptom,
            severity="warning",
            confidence=0.7,
            first_step=int(facts.pulse.step[facts.pulse.has_loss][-(facts.steps // 2) or 0]),
            step=facts.last_step,
            where=tuple(
                dict.fromkeys(where(facts.sites[flow.root_site]) for flow in facts.flows)
            ) or (Where(),),
            message=f"The loss swings by {percent(swing)} of its level every {period:.2g} steps "
            f"and does not fall. Lower the {what}.",
            causes=(Cause(cause=cause, share=0.8, evidence=evidence),),
            evidence={
                "period_steps": period,
                "power": power,
                "power_limit": LIMITS.power,
                "swing": swing,
                "swing_limit": LIMITS.swing,
                "relative_update": moves,
            },
            remedies=("lower-momentum",) if slow else ("lower-learning-rate",),
        )  # fmt: skip


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


def _momentum(facts: Facts) -> float:
    found = [one.settings.get(name) for one in facts.optimisers for name in ("momentum", "beta1")]
    return max([float(value) for value in found if isinstance(value, float | int)], default=0.0)
