"""What hearing a step costs where nothing but its loss is wanted: the whole way, and the lane.

Blocks of steps, unobserved, heard the whole way and by the lane, in turn; the figures are medians
over rounds of what is added to a block's median step. Beside them: what clocks at the observer's
own ends see of either way, and what the same calls take in a loop of their own, with nothing in
between.

    OMP_NUM_THREADS=1 python benchmarks/lane.py --size 1ms
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from networks import Trainer
from training import SIZES

from headwater.watch.course import Course
from headwater.watch.door import DOOR
from headwater.watch.lane import Lane
from headwater.watch.observation import Observation
from headwater.watch.options import Options

BLOCK_S = 0.5
_SETTLING = 2  # steps before the lane is open


def block(trainer: Trainer, steps: int) -> float:
    """Return the median time of a step, in microseconds."""
    times = []
    for _ in range(steps):
        began = time.perf_counter()
        trainer.step()
        times.append(time.perf_counter() - began)
    return 1e6 * median(times[_SETTLING:])


def heard(
    observation: Observation, trainer: Trainer, steps: int, *, lane: bool
) -> tuple[float, float]:
    """Return the time of a step that is heard, and what the observer's clock saw of it."""
    offer = Course.offer_lane
    if not lane:
        Course.offer_lane = lambda _self: None
    DOOR.enter(observation)
    before = observation._cadence.spent_s
    try:
        step_us = block(trainer, steps)
    finally:
        DOOR.leave(observation)
        Course.offer_lane = offer
    return step_us, 1e6 * (observation._cadence.spent_s - before) / steps


def seen_in_lane(observation: Observation, trainer: Trainer, steps: int) -> float:
    """Return what a clock sees of the lane's four calls of a step, in microseconds."""
    spans: dict[str, list[float]] = {}
    names = ("backward", "gradient_is_bad", "step_begins", "step_ends")
    originals = {name: getattr(Lane, name) for name in names}

    def timed(name: str) -> Callable[..., bool]:
        original, own = originals[name], spans.setdefault(name, [])

        def way(*args: Any) -> bool:
            began = time.perf_counter()
            answer: bool = original(*args)
            own.append(time.perf_counter() - began)
            return answer

        return way

    for name in names:
        setattr(Lane, name, timed(name))
    try:
        heard(observation, trainer, steps, lane=True)
    finally:
        for name, original in originals.items():
            setattr(Lane, name, original)
    return 1e6 * sum(median(own) for own in spans.values() if own)


def alone(way: Callable[[], None]) -> float:
    """Return the time of ``way`` in a loop of its own, in microseconds."""
    for _ in range(100):
        way()
    started = time.perf_counter()
    for _ in range(5000):
        way()
    return 1e6 * (time.perf_counter() - started) / 5000


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60, help="(default 60)")
    parser.add_argument("--size", choices=("1ms", "20ms"), default="1ms", help="(default 1ms)")
    arguments = parser.parse_args()
    trainer = SIZES[arguments.size]()
    block(trainer, 10)
    steps = round(1e6 * BLOCK_S / block(trainer, 10))
    with tempfile.TemporaryDirectory() as folder:
        observation = Observation(
            Path(folder, "run"), options=Options(overhead=0.0), command=("lane",), script=None
        )
        observation.start()  # without a budget there are neither pulses nor samples but the first
        block(trainer, steps)
        DOOR.leave(observation)
        rounds = []
        for _ in range(arguments.rounds):
            first = block(trainer, steps)
            whole, seen = heard(observation, trainer, steps, lane=False)
            lane, _ = heard(observation, trainer, steps, lane=True)
            plain = (first + block(trainer, steps)) / 2
            rounds.append((plain, whole - plain, seen, lane - plain))
        in_lane = seen_in_lane(observation, trainer, steps)
        DOOR.enter(observation)
        optimiser = trainer.optimizer

        def calls() -> None:
            observation.step_begins(optimiser)
            observation.gradient_stands(optimiser)
            observation._hear(observation._course.step_ends, optimiser)

        own = alone(calls)
        observation.finish(0, None)
    plain, whole, seen, lane = (median(column) for column in zip(*rounds, strict=True))
    print(f"a step unobserved               {plain:7.0f} us")
    print(
        f"added by the whole way          {whole:7.1f} us, of which its own clock sees {seen:.1f}"
    )
    print(f"added by the lane               {lane:7.1f} us, of which a clock sees {in_lane:.1f}")
    print(f"the step's three calls, alone   {own:7.1f} us")


if __name__ == "__main__":
    main()
