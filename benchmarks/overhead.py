"""What ``headwater run`` costs at its default budget: whole processes, with and without.

Three scripts, with steps of about 1, 20 and 200 ms, each run for --seconds, observed and not. A
shared machine's pace drifts by ten times what is to be measured from one minute to the next, so the
two run at the same time, on a core each, and then again with the cores changed over; the ratio of a
pair is the geometric mean of the two, in which a slower core cancels. The observer's own threads
stay on the core of the training that they watch. With --in-turn, or on a single core, one runs
right after the other, and the order changes from pair to pair. The figure is the median over pairs,
for wall time and for processor time; start-up (the same script with no steps) is told apart.

    python benchmarks/overhead.py --seconds 60 --pairs 7
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
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
class Script:
    """What is run: a training of about a size of step, on a device."""

    size: str
    device: str = "cpu"

    def words(self, steps: int) -> list[str]:
        """Return the command's words."""
        return [str(SCRIPT), self.size, str(steps), self.device]


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


def _environment() -> dict[str, str]:
    """Return the environment of a run, whose modules are compiled once, as those of a user are."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def process(script: Script, steps: int, *, observed: bool, core: int | None = None) -> Cost:
    """Run the script once; observed or not; on one core only, or on all."""
    with tempfile.TemporaryDirectory() as folder:
        head = ["-m", "headwater", "run", "--quiet", "--out", str(Path(folder, "run"))]
        command = [sys.executable, *(head if observed else []), *script.words(steps)]
        started = time.perf_counter()
        if core is not None:  # inherited from the first instruction on
            command = ["taskset", "--cpu-list", str(core), *command]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_environment())
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


def in_turn(script: Script, steps: int, number: int) -> tuple[Cost, Cost]:
    """Return the costs unobserved and observed; odd pairs run the observed one first."""
    costs = {observed: process(script, steps, observed=observed) for observed in (number % 2 == 1,)}
    costs |= {other: process(script, steps, observed=other) for other in (number % 2 == 0,)}
    return costs[False], costs[True]


def side_by_side(script: Script, steps: int, cores: tuple[int, int]) -> tuple[Cost, Cost]:
    """Return the costs unobserved and observed, of two runs at once, each on its core."""
    with ThreadPoolExecutor(2) as both:
        plain = both.submit(process, script, steps, observed=False, core=cores[0])
        seen = both.submit(process, script, steps, observed=True, core=cores[1])
        return plain.result(), seen.result()


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Runs unobserved and observed: one of each, or two of each with the cores changed over."""

    plain: tuple[Cost, ...]
    seen: tuple[Cost, ...]

    def ratio(self, of: str) -> float:
        """Return observed / unobserved of a field of `Cost`: the geometric mean over the runs."""
        ratios = [
            getattr(seen, of) / getattr(plain, of)
            for plain, seen in zip(self.plain, self.seen, strict=True)
        ]
        return math.exp(sum(map(math.log, ratios)) / len(ratios))


def pair(script: Script, steps: int, number: int, *, turns: bool) -> Pair:
    """Run a pair, at once where the machine has the cores."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if turns or len(cores) < 2:
        costs = [in_turn(script, steps, number)]
    else:
        first, second = cores
        costs = [side_by_side(script, steps, order) for order in ((first, second), (second, first))]
    return Pair(plain=tuple(one for one, _ in costs), seen=tuple(other for _, other in costs))


def measure(script: Script, seconds: float, pairs: int, *, turns: bool) -> Result:
    """Time one script."""
    size = script.size
    trial = 2000 if size == "1ms" else 20
    core = None if turns else min(os.sched_getaffinity(0))
    steps = max(
        20, int(seconds * trial / process(script, trial, observed=False, core=core).steps_s)
    )
    process(script, 0, observed=True)  # the first run compiles the observer's modules
    measured = []
    for number in range(pairs):
        measured.append(pair(script, steps, number, turns=turns))
        took = ", ".join(
            f"{plain.wall_s:.2f} s and {seen.wall_s:.2f} s"
            for plain, seen in zip(measured[-1].plain, measured[-1].seen, strict=True)
        )
        ratio = measured[-1].ratio("wall_s")
        print(f"{size} pair {number + 1} of {pairs}: {took}, ratio {ratio:.4f}", file=sys.stderr)
    starts = [in_turn(script, 0, number) for number in range(max(3, pairs))]
    return Result(
        size=size,
        steps=steps,
        step_ms=median(1e3 * plain.steps_s / steps for one in measured for plain in one.plain),
        wall=tuple(one.ratio("wall_s") for one in measured),
        cpu=tuple(one.ratio("cpu_s") for one in measured),
        startup_s=median(seen.wall_s - plain.wall_s for plain, seen in starts),
    )


def main() -> None:
    """Print a table; or with --json, every ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="of each run (default 60)")
    parser.add_argument("--pairs", type=int, default=5, help="(default 5)")
    parser.add_argument("--size", choices=SIZES, action="append", help="only this script")
    parser.add_argument("--in-turn", action="store_true", help="one after the other, on all cores")
    parser.add_argument("--device", default="cpu", help="where it trains (default cpu)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = [
        measure(
            Script(size=size, device=arguments.device),
            arguments.seconds,
            arguments.pairs,
            turns=arguments.in_turn,
        )
        for size in arguments.size or SIZES
    ]
    if arguments.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
        return
    print(HEADING)
    for result in results:
        print(result.line())


if __name__ == "__main__":
    main()
