"""How much of a training's time the cadence spends, by a clock that is made up."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from headwater.watch.cadence import Cadence
from headwater.watch.lane import step_cost_s
from headwater.watch.options import Options

ENDS_S = 0.25


@dataclass
class Training:
    """Steps of one length, with samples and pulses of one cost; ``lane`` if it passes by it."""

    step_s: float
    sample_s: float
    pulse_s: float
    lane: bool = True
    cadence: Cadence = field(default_factory=lambda: Cadence(Options()))
    now_s: float = 0.0
    sampled_at: list[float] = field(default_factory=list)
    pulsed_at: list[float] = field(default_factory=list)

    def run(self, seconds: float) -> Training:
        step = 0
        while self.now_s < seconds:
            self.step(step)
            step += 1
        return self

    def step(self, number: int) -> None:
        cadence = self.cadence
        sampled = cadence.wants_sample(number, self.now_s, 1)
        pulsed = cadence.wants_pulse(number, 1)
        self.now_s += self.step_s
        if sampled:
            self.sampled_at.append(self.now_s)
            cadence.sampling()
            cadence.charge(self.sample_s)
            cadence.sampled()
            self.now_s += self.sample_s
            return
        cadence.plain(self.step_s)
        if pulsed:
            self.pulsed_at.append(self.now_s)
            cadence.pulsing()
            cadence.charge(self.pulse_s)
            cadence.pulsed()
            cadence.pulses += 1
            self.now_s += self.pulse_s
        elif self.lane:
            cadence.charge_floor(step_cost_s(self.step_s))

    def share(self) -> float:
        """What all that is charged, and start and end, are of the run."""
        return (self.cadence.spent_s + self.cadence.floor_s + ENDS_S) / self.now_s


@pytest.mark.parametrize(
    ("step_s", "sample_s", "pulse_s"), [(0.02, 0.025, 0.001), (0.2, 0.15, 0.003)]
)
def test_a_run_of_minutes_takes_its_budget_with_start_lane_and_end(
    step_s: float, sample_s: float, pulse_s: float
) -> None:
    training = Training(step_s, sample_s, pulse_s).run(600)
    assert training.share() == pytest.approx(0.01, rel=0.1)
    assert len(training.sampled_at) > 20


def test_what_the_lane_takes_is_taken_from_the_samples() -> None:
    with_lane, without = (
        Training(0.02, 0.025, 0.001, lane=lane).run(600) for lane in (True, False)
    )
    assert with_lane.share() < 1.02 * without.share()
    assert len(with_lane.sampled_at) < 0.8 * len(without.sampled_at)


def test_a_short_run_of_cheap_samples_gets_a_quarter_of_a_second() -> None:
    training = Training(0.02, 0.025, 0.0).run(4)
    assert training.cadence.spent_s == pytest.approx(0.25, abs=0.04)


def test_a_short_run_of_dear_samples_gets_three_and_no_more() -> None:
    training = Training(0.2, 0.15, 0.0).run(10)
    assert len(training.sampled_at) == 3


def test_pulses_are_half_as_many_while_more_is_spent_than_allowed() -> None:
    training = Training(0.02, 0.05, 0.001).run(2000)
    early = sum(2 < at < 12 for at in training.pulsed_at)
    late = sum(1000 < at < 1010 for at in training.pulsed_at)
    assert early == pytest.approx(late / 2, rel=0.25)


def test_of_steps_of_a_millisecond_samples_and_pulses_take_half() -> None:
    training = Training(0.001, 0.008, 0.0002).run(300)
    assert training.cadence.spent_s / training.now_s == pytest.approx(0.005, rel=0.2)
