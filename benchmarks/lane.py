"""What hearing a step costs where nothing but its loss is wanted: the whole way, and the lane.

Blocks of steps of about 1 ms, unobserved, heard the whole way and by the lane, in turn; the figures
are medians over rounds of the added time of a step. Beside them: what the observer's own clock sees
of the whole way, and what the same calls take in a loop of their own, with nothing in between.

    OMP_NUM_THREADS=1 python benchmarks/lane.py
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from networks import Trainer, perceptron

from headwater.watch.course import Course
from headwater.watch.door import DOOR
from headwater.watch.observation import Observation
from headwater.watch.options import Options

STEPS = 300


def block(trainer: Trainer) -> float:
    """Return the mean time of a step, in microseconds."""
    started = time.perf_counter()
    for _ in range(STEPS):
        trainer.step()
    return 1e6 * (time.perf_counter() - started) / STEPS


def heard(observation: Observation, trainer: Trainer, *, lane: bool) -> tuple[float, float]:
    """Return the time of a step that is heard, and what the observer's clock saw of it."""
    offer = Course.offer_lane
    if not lane:
        Course.offer_lane = lambda _self: None
    DOOR.enter(observation)
    before = observation._cadence.spent_s
    try:
        step_us = block(trainer)
    finally:
        DOOR.leave(observation)
        Course.offer_lane = offer
    return step_us, 1e6 * (observation._cadence.spent_s - before) / STEPS


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
    arguments = parser.parse_args()
    trainer = perceptron(layers=4, width=128)
    with tempfile.TemporaryDirectory() as folder:
        observation = Observation(
            Path(folder, "run"), options=Options(overhead=0.0), command=("lane",), script=None
        )
        observation.start()  # without a budget there are neither pulses nor samples but the first
        block(trainer)
        DOOR.leave(observation)
        rounds = []
        for _ in range(arguments.rounds):
            first = block(trainer)
            whole, seen = heard(observation, trainer, lane=False)
            lane, _ = heard(observation, trainer, lane=True)
            plain = (first + block(trainer)) / 2
            rounds.append((plain, whole - plain, seen, lane - plain))
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
    print(f"added by the lane               {lane:7.1f} us")
    print(f"the step's three calls, alone   {own:7.1f} us")


if __name__ == "__main__":
    main()
