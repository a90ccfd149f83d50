"""When to sample and when to take a pulse, so that overhead is a budget and not an outcome.

Every second spent is charged to one account. Samples come at steps 0, 1, 2, 4, 8, … and then as
the account allows; the pulse is thinned out where a step is too short to carry one.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import median

from headwater.watch.options import Options

_AT_ONCE_S, _GRANT_S, _GRANT_RATE = 0.25, 0.5, 0.05
"""What samples at steps 0, 1, 2, 4, 8, … may take before the budget binds: a run of a few seconds
must be judged too. A quarter of a second at once; if that is not enough for three samples, more
over the next five seconds, so that not all are early."""

_JUDGED = 3  # samples that a verdict rests on at least

_SHORT_S, _SHORT_PART = 0.002, 0.5
"""Where a step is shorter than two milliseconds the lane alone takes more than the default budget,
which no plan can save; samples and pulses then get half of theirs. They are cheap there, as the
network is small: a tenth of a second still pays for ten."""

_ENDS_S = 0.25
"""What the start and the end of a run take, imports, writing and judging: kept back from the
budget. It is the fixed part that `benchmarks/blocks.py` measures."""

_PULSE_PART, _OVERDRAWN_PART = 0.4, 0.2
"""Share of the budget that pulses may take; the rest is for samples and for writing. It is halved
while more is spent than the budget has allowed so far, as it is after the first samples."""

_UNSEEN_S = 6e-5
"""What a step with a pulse costs beyond what the clock at our own ends sees of it: the way there
runs with cold caches. `benchmarks/lane.py` measures it: 121 and 140 us where the clock saw 68
and 72, on steps of 1.3 ms."""

_KNOWN = 8  # plain steps by which their time is known

_LONGEST_LANE = 1000  # steps
_LANE_S = 0.25
"""Steps that pass by the lane are handed on after so long at most: a kill must not lose them."""

_SPREAD = 200
"""Samples are at least a 200th of the elapsed time apart, so that a record grows as a logarithm."""

_ALARMS = 3
"""How many samples an alarm may add beyond the budget."""


@dataclass(slots=True)
class Cadence:
    """Decides, step by step, from measured cost."""

    options: Options
    spent_s: float = 0.0
    floor_s: float = 0.0
    samples: int = 0
    pulses: int = 0
    _plain_ms: deque[float] = field(default_factory=lambda: deque(maxlen=64))
    _sample_cost_s: float = 0.0
    _spent_before_s: float = 0.0
    _pulse_cost_s: float = 0.0
    _spent_before_pulse_s: float = 0.0
    _next: int = 0
    _last_s: float = 0.0
    _window: int = 0
    _credit: int = 0
    _overdrawn: bool = False
    _last_alarm: int = -1

    def charge(self, seconds: float) -> None:
        """Put time that observing took on the account."""
        self.spent_s += seconds

    def charge_floor(self, seconds: float) -> None:
        """Put the least that there is to a step on an account of its own: no plan can save it."""
        self.floor_s += seconds

    def sampling(self) -> None:
        """Note that a sampled step begins."""
        self._spent_before_s = self.spent_s

    def sampled(self) -> None:
        """Learn what a sample cost, from what was charged since it began."""
        self.samples += 1
        cost = self.spent_s - self._spent_before_s
        # The first pays for plans that later ones find ready: about half of it will not recur.
        self._sample_cost_s = 0.5 * (self._sample_cost_s + cost)

    def lane_until(self, now: float) -> float:
        """Until when, by the clock, a lane that opens now may stay open."""
        return now + _LANE_S

    def plain(self, *steps_s: float) -> None:
        """Learn how long steps take that are not sampled."""
        self._plain_ms.extend([1e3 * step_s for step_s in steps_s])

    def pulsing(self) -> None:
        """Note that the first backward pass of a step begins, which may be pulsed."""
        self._spent_before_pulse_s = self.spent_s

    def pulsed(self) -> None:
        """Learn what a step with a pulse costs, from what was charged since it began."""
        self.spent_s += _UNSEEN_S
        seconds = self.spent_s - self._spent_before_pulse_s
        new = self._pulse_cost_s == 0 or self.pulses <= 3  # the first pay for what is kept
        self._pulse_cost_s = seconds if new else 0.9 * self._pulse_cost_s + 0.1 * seconds

    def alarm(self, step: int) -> None:
        """Something looks wrong: sample soon; an alarm counts once the run is twice as long."""
        if step > 2 * self._last_alarm:
            self._last_alarm = step
            self._credit = _ALARMS

    @property
    def plain_s(self) -> float:
        """Median time of the last plain steps, 0 before there is one."""
        return median(self._plain_ms) / 1e3 if self._plain_ms else 0.0

    @property
    def _part(self) -> float:
        """What samples and pulses get of what they would where the lane costs next to nothing."""
        return _SHORT_PART if 0 < self.plain_s < _SHORT_S else 1.0

    def wants_pulse(self, step: int, optimisers: int) -> bool:
        """Whether a step's gradient norms are taken; whole rounds of all optimisers together."""
        if self.options.every is not None or self.options.steps is not None:
            return True
        if not self._plain_ms:
            return self.options.overhead > 0
        stride = self._pulse_stride()
        return stride > 0 and (step // max(1, optimisers)) % stride == 0

    def _pulse_stride(self) -> int:
        """Every how many steps there is a pulse; 0 for never."""
        share = _OVERDRAWN_PART if self._overdrawn else _PULSE_PART
        allowed = share * self._part * self.options.overhead * self.plain_s
        if allowed <= 0:
            return 0
        return max(1, math.ceil(self._pulse_cost_s / allowed))

    def lane_steps(self, step: int) -> int:
        """How many steps from ``step`` on may pass by the lane, with nothing else wanted of them.

        For a training with one optimiser.
        """
        watched = self.options.every is not None or self.options.steps is not None
        if watched or self._credit or len(self._plain_ms) < _KNOWN or self._window > 0:
            return 0
        stride = self._pulse_stride()
        until_pulse = (-step) % stride if stride else _LONGEST_LANE
        return min(until_pulse, _LONGEST_LANE, int(_LANE_S / max(self.plain_s, 1e-6)))

    def wants_sample(self, step: int, elapsed_s: float, optimisers: int) -> bool:
        """Whether the full ledger is taken at ``step``, the next one; to be asked once a step."""
        if self.options.every is not None:
            return _named(step // max(1, optimisers), self.options.every)  # a GAN's two alike
        if self.options.steps is not None:
            start, stop = self.options.steps
            return start <= step < stop
        if self._window > 0:  # the other optimisers of a round that has begun
            self._window -= 1
            return True
        if not self._due(step, elapsed_s):
            return False
        self._last_s = elapsed_s
        self._next = max(1, 2 * step)
        self._window = min(optimisers, 8) - 1
        return True

    def _due(self, step: int, elapsed_s: float) -> bool:
        if step == 0:
            return True
        if self.options.overhead <= 0:
            return False
        if self._credit > 0:
            self._credit -= 1
            return True
        wanted = self.spent_s + self._sample_cost_s
        budget = self._budget_s(elapsed_s)
        self._overdrawn = self.spent_s > budget
        if step >= self._next:
            return wanted <= max(self._grant_s(elapsed_s), budget)
        return wanted <= budget and elapsed_s - self._last_s >= elapsed_s / _SPREAD + 0.1

    def _budget_s(self, elapsed_s: float) -> float:
        """Return what samples and pulses may have taken so far."""
        floor = self.floor_s if self._part == 1.0 else 0.0
        return self._part * self.options.overhead * elapsed_s - _ENDS_S - floor

    def _grant_s(self, elapsed_s: float) -> float:
        """Return what the first samples may take, whatever the budget."""
        enough = self.samples >= _JUDGED
        more = 0.0 if enough else min(_GRANT_S - _AT_ONCE_S, _GRANT_RATE * elapsed_s)
        return self._part * (_AT_ONCE_S + more)


def _named(turn: int, every: int) -> bool:
    """Whether an interval names a step: each Nth, and 1, 2, 4, … before the first N.

    What is wrong from the start shows there, and no verdict rests on fewer than three samples.
    """
    return turn % every == 0 or (turn < every and turn & (turn - 1) == 0)
