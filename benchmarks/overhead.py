"""What ``headwater run`` costs at its default budget: whole processes, with and without, in turn.

Three scripts, with steps of about 1, 20 and 200 ms, each run for --seconds, observed and not,
one right after the other; the order changes from pair to pair, so that a machine that gets slower
favours neither. The figure is the median over pairs of the ratio of the two times, for wall time
and for processor time; start-up (the same script with no steps) is told apart.

    python benchmarks/overhead.py --seconds 60 --pairs 7
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from training import SIZES

import headwater

SCRIPT = Path(__file__).with_name("training.py")
LIMITS = {"1ms": 1.03, "20ms": 1.015, "200ms": 1.015}
"""What the medians must not exceed."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one process, start to end, in seconds.

    ``steps_s`` is the training loop alone, ``charged_s`` what the observer says that it took of it.
    """

    wall_s: float
    cpu_s: float
    steps_s: float
    charged_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Result:
    """The ratios observed / unobserved of one script, one per pair."""

    size: str
    steps: int
    step_ms: float
    wall: tuple[float, ...]
    cpu: tuple[float, ...]
    startup_s: float

    def line(self) -> str:
        """Return a row of the table."""
        spread = f"{min(self.wall):.4f}-{max(self.wall):.4f}"
        verdict = "ok" if median(self.wall) <= LIMITS[self.size] else "OVER"
        return (
            f"{self.size:>6} {self.steps:>7} {self.step_ms:>9.2f} {median(self.wall):>10.4f} "
            f"{spread:>15} {median(self.cpu):>9.4f} {self.startup_s:>9.2f} "
            f"{LIMITS[self.size]:>7} {verdict}"
        )


HEADING = "script   steps  step [ms]  wall ratio           range cpu ratio  start [s]   limit"


def process(size: str, steps: int, *, observed: bool) -> Cost:
    """Run the script once; observed or not."""
    with tempfile.TemporaryDirectory() as folder:
        head = ["-m", "headwater", "run", "--quiet", "--out", str(Path(folder, "run"))]
        command = [sys.executable, *(head if observed else []), str(SCRIPT), size, str(steps)]
        started = time.perf_counter()
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        said = child.stdout.read()
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
        charged = 0.0
        if observed and steps:
            info = headwater.Run.open(Path(folder, "run")).info
            if info.observation["status"] != "complete":  # half a run would pass for a cheap one
                raise SystemExit(f"the observation stopped: {info.observation['reason']}")
            charged = info.overhead["observer_s"]
    return Cost(
        wall_s=wall,
        cpu_s=used.ru_utime + used.ru_stime,
        steps_s=float(said.splitlines()[-1]),
        charged_s=charged,
    )


def pair(size: str, steps: int, number: int) -> tuple[Cost, Cost]:
    """Return the costs unobserved and observed; odd pairs run the observed one first."""
    costs = {observed: process(size, steps, observed=observed) for observed in (number % 2 == 1,)}
    costs |= {other: process(size, steps, observed=other) for other in (number % 2 == 0,)}
    return costs[False], costs[True]


def measure(size: str, seconds: float, pairs: int) -> Result:
    """Time one script."""
    trial = 2000 if size == "1ms" else 20
    steps = max(20, int(seconds * trial / process(size, trial, observed=False).steps_s))
    costs = []
    for number in range(pairs):
        plain, seen = pair(size, steps, number)
        costs.append((plain, seen))
        print(
            f"{size} pair {number + 1} of {pairs}: {plain.wall_s:.2f} s and {seen.wall_s:.2f} s, "
            f"ratio {seen.wall_s / plain.wall_s:.4f}",
            file=sys.stderr,
        )
    starts = [pair(size, 0, number) for number in range(max(3, pairs))]
    return Result(
        size=size,
        steps=steps,
        step_ms=median(1e3 * plain.steps_s / steps for plain, _ in costs),
        wall=tuple(seen.wall_s / plain.wall_s for plain, seen in costs),
        cpu=tuple(seen.cpu_s / plain.cpu_s for plain, seen in costs),
        startup_s=median(seen.wall_s - plain.wall_s for plain, seen in starts),
    )


def main() -> None:
    """Print a table; or with --json, every ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="of each run (default 60)")
    parser.add_argument("--pairs", type=int, default=5, help="(default 5)")
    parser.add_argument("--size", choices=SIZES, action="append", help="only this script")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = [
        measure(size, arguments.seconds, arguments.pairs) for size in arguments.size or SIZES
    ]
    if arguments.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
        return
    print(HEADING)
    for result in results:
        print(result.line())


if __name__ == "__main__":
    main()
