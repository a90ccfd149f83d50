"""Whether a loss fell, stood still or rose, judged against its own noise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from headwater.rules.passes import Floats

State = Literal["unknown", "fell", "flat", "rose", "unsteady"]


@dataclass(frozen=True, kw_only=True)
class TrendLimits:
    """What counts as a fall, a rise, and a loss that stands at chance level."""

    # Ten windows of five: below that a median of a window says little about batch noise.
    enough_steps: int = 50
    # Medians of windows differ by chance beyond three standard errors in 1 of 370 runs.
    sure: float = 3.0
    # A rise is an accusation: six standard errors and a doubling. Losses of healthy runs wander
    # upwards by tens of percent (curricula, regularisation switched on), not by factors.
    sure_rise: float = 6.0
    rise: float = 2.0
    # Grown tenfold before it stopped being finite: it ran away.
    runaway: float = 10.0
    # Over 500 steps or more, a fall of under 1 % is none that a user could live on; in shorter
    # runs proportionally less is asked for.
    least_fall: float = 0.01
    full_fall_steps: int = 500
    # Chance level: in the two-circles net with U[0, 1] weights the loss drops in 50 steps from
    # 1.15 to ln 2 (the output's own scale) and stands there, 1 % lower after 8,000 steps;
    # networks that learn fall by 2 % within 2,000 (90 % of them within 800).
    near_chance: float = 0.97
    far_above_chance: float = 1.1
    late_fall: float = 0.02
    # A loss that starts at many times chance level, from inputs or weights out of scale, needs up
    # to the fourth tenth to come down to it; what stays for the other half has not learnt.
    arrival: int = 5
    full_late_fall_steps: int = 2000
    # Below this share of chance level, or of its own start, a loss has left a bad start behind:
    # networks that learnt all the same end under 0.2, those that lost half of it over 0.36.
    made_up_for: float = 0.3
    # Below this share of chance level a flat loss is that of a network trained before.
    learnt: float = 0.8
    # Where batches tell their own chance level: healthy trainings of the corpus's tune half explain
    # a fifth of it and more in their second half, those that learn nothing 0.02 at most. Twice the
    # median's error must not be more either, as of batches of eight.
    explained: float = 0.05
    enough_samples: int = 6


LIMITS = TrendLimits()


@dataclass(frozen=True, kw_only=True)
class Trend:
    """What a loss did from its first steps to its last; all but ``state`` NaN if unknown.

    ``start``, ``first`` and ``last`` are medians of the first five steps and of the first and last
    tenth; ``noise`` is the standard error of the difference of two tenths. ``chance`` is the loss
    of a network that ignores its input, where the loss function and the classes tell it.
    """

    state: State
    reason: str = ""
    steps: int = 0
    start: float = np.nan
    first: float = np.nan
    last: float = np.nan
    lowest: float = np.nan
    noise: float = np.nan
    chance: float = np.nan
    at_chance: bool = False

    @property
    def fall(self) -> float:
        """Share of its start by which the loss fell."""
        return (self.start - self.last) / abs(self.start) if self.start else 0.0

    @property
    def collapsed(self) -> bool:
        """Whether the network had learnt and then lost all of it."""
        return self.at_chance and self.lowest < LIMITS.learnt * self.chance

    @property
    def made_up_for(self) -> bool:
        """Whether the loss fell so far that whatever was wrong at the start is history."""
        level = self.chance if np.isfinite(self.chance) else self.start
        return bool(self.state == "fell" and self.last < LIMITS.made_up_for * level)

    @property
    def never_left_chance(self) -> bool:
        """Whether a flat loss began at chance level and is there still."""
        level = LIMITS.near_chance * self.chance
        return self.state == "flat" and all(
            level < loss < self.chance / LIMITS.near_chance for loss in (self.start, self.last)
        )

    @property
    def stalled(self) -> bool:
        """Whether the loss stands still where there was something to learn."""
        return self.state == "flat" and not self.last < LIMITS.learnt * self.chance


def loss_trend(losses: Floats, *, chance: float = np.nan) -> Trend:
    """Judge a loss, one value a step; NaNs and infinities are left out.

    Example:
        >>> random = np.random.default_rng(0)
        >>> noise = random.normal(0, 0.02, 1000)
        >>> loss_trend(0.7 + noise).state, loss_trend(0.7 - 0.0001 * np.arange(1000) + noise).state
        ('flat', 'fell')
        >>> loss_trend(0.7 + noise, chance=np.log(2)).at_chance
        True
        >>> loss_trend(np.array([0.7, 0.6])).reason
        '2 losses recorded, 50 needed'
    """
    finite = losses[np.isfinite(losses)]
    steps = len(finite)
    if steps < LIMITS.enough_steps:
        return Trend(
            state="unknown", steps=steps,
            reason=f"{steps} losses recorded, {LIMITS.enough_steps} needed",
        )  # fmt: skip
    if (finite > 0).any() and (finite < 0).any():
        return Trend(
            state="unknown", steps=steps,
            reason="the loss takes both signs, so its level says nothing about learning",
        )  # fmt: skip
    return _measured(finite, chance)


def _measured(finite: Floats, chance: float) -> Trend:
    middles, each = tenths_of(finite), -(-len(finite) // 10)
    trend = Trend(
        state="flat",
        steps=len(finite),
        start=float(np.median(finite[:5])),
        first=float(middles[0]),
        last=float(middles[-1]),
        lowest=float(middles.min()),
        noise=noise_of_tenths(finite),
        chance=chance,
        at_chance=_at_chance(middles, len(finite), chance),
    )
    return replace(trend, state=_state(trend, _error(finite) * np.sqrt(1 / 5 + 1 / each)))


def tenths_of(finite: Floats) -> Floats:
    """Return the median of each tenth of a loss: its levels, from the first steps to the last."""
    return np.array([np.median(tenth) for tenth in np.array_split(finite, 10)])


def noise_of_tenths(finite: Floats) -> float:
    """Return the standard error of the difference of two tenths' medians."""
    return float(_error(finite) * np.sqrt(2 / -(-len(finite) // 10)))


def _error(finite: Floats) -> float:
    """Return the standard error of a median of one: 1.2533 times a mean's."""
    return 1.2533 * _spread(finite, np.array_split(finite, 10))


def held_to_targets(trend: Trend, losses: Floats, shares: Floats) -> Trend:
    """Correct a trend by what the late samples explain of their own targets, one share a sample.

    A loss can stand at chance level and yet fall, as it came from far above; and be near that level
    while it learns.

    Example:
        >>> random = np.random.default_rng(0)
        >>> falling = 1 + 9 * np.exp(-np.arange(300) / 40) + random.normal(0, 0.2, 300)
        >>> trend = loss_trend(falling, chance=1.0)
        >>> trend.state, held_to_targets(trend, falling, random.normal(0, 0.01, 20)).state
        ('fell', 'flat')
    """
    if len(shares) < LIMITS.enough_samples:
        return trend
    late = np.array_split(shares, 2)[1]
    level, growth = float(np.median(shares)), float(np.median(late) - np.median(shares))
    error = 1.2533 * float(np.std(shares)) / np.sqrt(len(shares))
    nothing = abs(level) <= LIMITS.explained and growth <= LIMITS.explained
    if nothing and 2 * error <= LIMITS.explained and trend.state != "rose":
        return replace(trend, state="flat", at_chance=True)
    if trend.at_chance and level > LIMITS.explained:
        return replace(loss_trend(losses), chance=trend.chance)
    return trend


def runaway(losses: Floats) -> int | None:
    """Return where a loss that had grown tenfold stopped being finite for good, None if it did not.

    From an ordinary level to NaN in one step is an operation's fault, not divergence.

    Example:
        >>> runaway(np.array([1.0, 2.0, 5.0, 80.0, np.inf, np.nan]))
        4
        >>> runaway(np.array([1.0, 0.9, 0.8, np.nan])) is None
        True
        >>> runaway(np.array([0.0, np.nan])) is None
        True
    """
    finite = np.isfinite(losses)
    if not finite.any() or finite[-1]:
        return None
    last = int(np.flatnonzero(finite)[-1])
    sizes = np.abs(losses[: last + 1][finite[: last + 1]])
    most = sizes[-3:].max()
    return last + 1 if most > 0 and most >= LIMITS.runaway * first_level(sizes) else None


def first_level(losses: Floats) -> float:
    """Return where a loss started: the median of the first steps, the first of a very short run."""
    return float(np.median(losses[:3])) if len(losses) > 5 else float(losses[0])


def _spread(finite: Floats, tenths: list[Floats]) -> float:
    """Return the losses' own standard deviation, robustly and with the trend taken out."""
    fast = 1.4826 * float(np.median(np.abs(np.diff(finite)))) / np.sqrt(2)
    slow = [1.4826 * float(np.median(np.abs(tenth - np.median(tenth)))) for tenth in tenths]
    return float(max(fast, np.median(slow)))


def _at_chance(middles: Floats, steps: int, chance: float) -> bool:
    """Say whether the loss came to chance level early and stayed there, or came back to it."""
    wanted = LIMITS.late_fall * min(1.0, steps / LIMITS.full_late_fall_steps)
    arrived = np.flatnonzero(middles[1 : LIMITS.arrival] <= LIMITS.far_above_chance * chance)
    # Who comes later comes in the middle of a tenth: the next one is the first that shows a level.
    at = 1 if not len(arrived) or arrived[0] == 0 else 2 + int(arrived[0])
    then = middles[at]
    late_fall = (then - middles[-1]) / abs(then) if then else 0.0
    near = LIMITS.near_chance * chance <= middles[-1] <= LIMITS.far_above_chance * chance
    return bool(near and late_fall < wanted)


def _state(trend: Trend, noise_of_start: float) -> State:
    if trend.at_chance:
        return "flat"
    least = LIMITS.least_fall * min(1.0, trend.steps / LIMITS.full_fall_steps)

    def fell(high: float, low: float, noise: float) -> bool:
        return high - low > max(LIMITS.sure * noise, least * abs(high))

    if fell(trend.start, trend.last, noise_of_start) or fell(trend.first, trend.last, trend.noise):
        return "fell"
    highest = max(trend.start, trend.first)
    doubled = (LIMITS.rise - 1) * abs(highest)
    if trend.last - highest > max(LIMITS.sure_rise * trend.noise, doubled):
        return "rose"
    if fell(trend.first, trend.lowest, trend.noise):
        return "unsteady"
    return "flat"
