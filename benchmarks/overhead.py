"""What ``headwater run`` costs at its default budget: whole processes, with and without.

Three scripts, with steps of about 1, 20 and 200 ms, each run for --seconds, observed and not. A
shared machine's pace drifts by ten times what is to be measured, from one second to the next and
from one core to the other. So the two run at the same time on the same core, which goes from one to
the other every few milliseconds: whatever slows it slows both. What is compared is the processor's
time of each, start to end, the observer's own threads included; as both wait for the core half of
the time, they run for twice --seconds. With --in-turn, as on a GPU, one runs right after the other
with all cores, the order changes from pair to pair, and it is their wall time that is compared. The
figure is the median over pairs; start-up (the same script with no steps) is told apart.

    OMP_NUM_THREADS=1 python benchmarks/overhead.py --seconds 60 --pairs 6
"""

from __future__ import annotations

import argparse
import json
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
    """What is run: a training of about a size of step, on a device; ``watched`` where it is to be.

    Where it is not, both runs of a pair are the same, and the ratio tells what it can resolve.
    """

    size: str
    device: str = "cpu"
    watched: bool = True

    def words(self, steps: int) -> list[str]:
        """Return the command's words."""
        return [str(SCRIPT), self.size, str(steps), self.device]


@dataclass(frozen=True, kw_only=True)
class Result:
    """The ratios observed / unobserved of one script, one per pair."""

    size: str
    steps: int
    step_ms: float
    ratios: tuple[float, ...]
    startup_s: float

    def line(self) -> str:
        """Return a row of the table."""
        spread = f"{min(self.ratios):.4f}-{max(self.ratios):.4f}"
        verdict = "ok" if median(self.ratios) <= LIMITS[self.size] else "OVER"
        return (
            f"{self.size:>6} {self.steps:>7} {self.step_ms:>9.2f} {median(self.ratios):>8.4f} "
            f"{spread:>15} {self.startup_s:>9.2f} {LIMITS[self.size]:>7} {verdict}"
        )


HEADING = "script   steps  step [ms]    ratio           range start [s]   limit"


def _environment() -> dict[str, str]:
    """Return the environment of a run, whose modules are compiled once, as those of a user are."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def process(script: Script, steps: int, *, observed: bool, core: int | None = None) -> Cost:
    """Run the script once; observed or not; on one core only, or on all."""
    with tempfile.TemporaryDirectory() as folder:
        head = ["-m", "headwater", "run", "--quiet", "--out", str(Path(folder, "run"))]
        observed = observed and script.watched
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


def on_one_core(script: Script, steps: int, core: int) -> tuple[Cost, Cost]:
    """Return the costs unobserved and observed, of two runs at once on a core that they share."""
    with ThreadPoolExecutor(2) as both:
        plain = both.submit(process, script, steps, observed=False, core=core)
        seen = both.submit(process, script, steps, observed=True, core=core)
        return plain.result(), seen.result()


def measure(script: Script, seconds: float, pairs: int, *, turns: bool) -> Result:
    """Time one script; without ``turns`` every core has a pair of its own."""
    size = script.size
    trial = 2000 if size == "1ms" else 20
    cores = sorted(os.sched_getaffinity(0))
    core = None if turns else cores[0]
    steps = max(
        20, int(seconds * trial / process(script, trial, observed=False, core=core).steps_s)
    )
    process(script, 0, observed=True)  # the first run compiles the observer's modules

    def pair(number: int) -> tuple[Cost, Cost]:
        if turns:
            costs = in_turn(script, steps, number)
        else:
            costs = on_one_core(script, steps, cores[number % len(cores)])
        plain, seen = (one.wall_s if turns else one.cpu_s for one in costs)
        print(f"{size} {plain:.2f} s and {seen:.2f} s: {seen / plain:.4f}", file=sys.stderr)
        return costs

    with ThreadPoolExecutor(1 if turns else len(cores)) as pool:
        measured = list(pool.map(pair, range(pairs)))
    starts = [in_turn(script, 0, number) for number in range(max(3, pairs))]
    took = [
        (one.wall_s, other.wall_s) if turns else (one.cpu_s, other.cpu_s) for one, other in measured
    ]
    return Result(
        size=size,
        steps=steps,
        step_ms=1e3 * median(plain for plain, _ in took) / steps,
        ratios=tuple(seen / plain for plain, seen in took),
        startup_s=median(seen.wall_s - plain.wall_s for plain, seen in starts),
    )


def main() -> None:
    """Print a table; or with --json, every ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="of each run (default 60)")
    parser.add_argument("--pairs", type=int, default=6, help="(default 6)")
    parser.add_argument("--size", choices=SIZES, action="append", help="only this script")
    parser.add_argument("--in-turn", action="store_true", help="one after the other, on all cores")
    parser.add_argument("--device", default="cpu", help="where it trains (default cpu)")
    parser.add_argument("--itself", action="store_true", help="observe neither: what it resolves")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = [
        measure(
            Script(size=size, device=arguments.device, watched=not arguments.itself),
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
