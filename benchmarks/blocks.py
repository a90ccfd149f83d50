"""What observing costs, block by block in one process: for a machine that is never quiet.

``overhead.py`` times whole runs, minutes apart, and other work on the machine moves those by more
than the limits. Here a training is observed for half a second, then goes on unobserved for half a
second, and so on, so that what slows the machine slows both; and it is the processor's time that is
taken, which waits for nobody. The observation's clock stands still meanwhile, so that its budget is
that of a run as long as its own blocks. The figure is the sum of the observed blocks over the sum
of the others, first samples included, with an interval from resampling pairs of blocks; start-up
and closing of a whole process are measured apart and added for a run of --seconds.

    python benchmarks/blocks.py --seconds 60
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from networks import Trainer
from overhead import LIMITS, Script, in_turn
from training import SIZES

from headwater.watch.door import DOOR
from headwater.watch.observation import Observation
from headwater.watch.options import Options

BLOCK_S = 0.5


def block(trainer: Trainer, steps: int) -> float:
    """Return the processor's seconds of some steps, those of the thread that writes included."""
    started = time.process_time()
    for _ in range(steps):
        trainer.step()
    return time.process_time() - started


def blocks(size: str, seconds: float) -> np.ndarray:
    """Return the seconds of observed and unobserved blocks, ``[pairs, 2]``."""
    trainer = SIZES[size]()
    steps = max(1, round(BLOCK_S / (block(trainer, 20) / 20)))
    block(trainer, steps)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        observation = Observation(
            Path(folder, "run"), options=Options(), command=("blocks",), script=None
        )
        observation.start()
        course = observation._course
        while sum(seen for seen, _ in found) < seconds:
            seen = block(trainer, steps)
            left = time.perf_counter()
            DOOR.leave(observation)
            plain = block(trainer, steps)
            DOOR.enter(observation)
            away = time.perf_counter() - left
            course._started += away
            course._step_began += away
            found.append((seen, plain))
        observation.finish(0, None)
    return np.array(found)


def main() -> None:
    """Print a line for each size of step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="observed in all (default 60)")
    parser.add_argument("--size", choices=SIZES, action="append", help="only this script")
    arguments = parser.parse_args()
    generator = np.random.default_rng(0)
    print("script   blocks ratio          95 %   fixed [s]   whole run   limit")
    for size in arguments.size or SIZES:
        found = blocks(size, arguments.seconds)
        picks = generator.integers(len(found), size=(2000, len(found)))
        sums = found[picks].sum(axis=1)
        low, high = np.percentile(sums[:, 0] / sums[:, 1], [2.5, 97.5])
        ratio = found[:, 0].sum() / found[:, 1].sum()
        ends = [in_turn(Script(size=size), 1, number) for number in range(5)]
        # What is charged to the one step is in the blocks already.
        fixed = median(seen.cpu_s - plain.cpu_s - seen.charged_s for plain, seen in ends)
        whole = ratio + fixed / arguments.seconds
        print(
            f"{size:>6} {len(found):>8} {ratio:.4f} {low:.4f}-{high:.4f} {fixed:>11.2f} "
            f"{whole:>11.4f} {LIMITS[size]:>7} {'ok' if whole <= LIMITS[size] else 'OVER'}",
            flush=True,
        )


if __name__ == "__main__":
    main()
