"""What looking for the producer costs, in plain steps: at the fault, and while all is well.

A network trains until its loss, or a gradient, is made NaN at one step; the replay's time, as the
record has it, is divided by the median of the plain steps before it, in the same process. That is
done --rounds times for each size and sort of fault; the figure is the median ratio, the limit 20.
Then the check that each pass is asked for, a sum over one gradient, in a loop of its own.

    OMP_NUM_THREADS=1 python benchmarks/replay.py
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from networks import Trainer
from torch.nn.functional import cross_entropy
from training import SIZES

import headwater
from headwater.watch.statistics import has_bad_gradient

STEPS, LIMIT = 12, 20
"""Steps before the fault; plain steps that a replay may take."""


def train(trainer: Trainer, *, fault: str) -> list[float]:
    """Train until the fault; return the time of every plain step, in milliseconds."""
    spans = []
    for step in range(STEPS + 1):
        started = time.perf_counter()
        picked = torch.randint(len(trainer.inputs), (trainer.batch,))
        trainer.optimizer.zero_grad()
        logits = trainer.model(trainer.inputs[picked])
        loss = cross_entropy(logits.flatten(0, -2), trainer.labels[picked].flatten())
        off = float(step != STEPS)
        if fault == "loss":
            loss = loss + torch.log(loss * off)
        else:
            loss = loss + torch.sqrt(logits.square().sum() * off)
        loss.backward()
        trainer.optimizer.step()
        spans.append(1e3 * (time.perf_counter() - started))
    return spans[1:-1]


def once(size: str, fault: str) -> tuple[float, float]:
    """Return the replay's time and that of a plain step, in milliseconds."""
    plain = median(train(SIZES[size](), fault="none"))
    trainer = SIZES[size]()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "run")
        with headwater.watch(trainer.model, trainer.optimizer, out=out, overhead=0.0):
            train(trainer, fault=fault)
        found = headwater.Run.open(out).info.faults
    if not found or not found[0].reproduced or found[0].replay_ms is None:
        raise SystemExit(f"{size}, {fault}: not found again: {found}")
    return found[0].replay_ms, plain


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="(default 5)")
    arguments = parser.parse_args()
    print(
        f"{'steps':>6} {'fault in':>9} {'plain [ms]':>10} {'replay [ms]':>11} {'plain steps':>11}"
    )
    for size in SIZES:
        for fault in ("loss", "gradient"):
            pairs = [once(size, fault) for _ in range(arguments.rounds)]
            ratio = median(replay / plain for replay, plain in pairs)
            print(
                f"{size:>6} {fault:>9} {median(p for _, p in pairs):>10.2f} "
                f"{median(r for r, _ in pairs):>11.1f} {ratio:>11.1f}"
                f"{'' if ratio <= LIMIT else '  OVER'}"
            )
    weight = torch.zeros(128, requires_grad=True)
    weight.sum().backward()
    started = time.perf_counter()
    for _ in range(10_000):
        has_bad_gradient(weight)
    print(f"the check after each pass, alone: {100 * (time.perf_counter() - started):.1f} us")


if __name__ == "__main__":
    main()
