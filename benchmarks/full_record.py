"""What ``every=1`` costs: each step sampled, everything recorded, blocks with and without in turn.

First a transformer of 6 layers and 256 units on batches of 8 x 64: the median over pairs of blocks
of (time of a step observed) / (time of a step unobserved). Then the same network with 1 to 24
layers of 64 units: the added time per graph node, which should not depend on the depth.

    python benchmarks/full_record.py
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from networks import Trainer, transformer

import headwater

DEPTHS = (1, 2, 4, 6, 9, 12, 16, 20, 24)
LIMIT = 2.0
"""What the median ratio must not exceed."""


class Pair(NamedTuple):
    """Seconds of a step without observation, and with; and the nodes of its graph."""

    plain_s: float
    seen_s: float
    nodes: int


def block(trainer: Trainer, steps: int) -> float:
    """Return the mean time of a step; the first two, which make plans and caches, do not count."""
    for _ in range(2):
        trainer.step()
    started = time.perf_counter()
    for _ in range(steps):
        trainer.step()
    return (time.perf_counter() - started) / steps


def pair(trainer: Trainer, steps: int, number: int) -> Pair:
    """Time a block of each sort; odd pairs observe first."""

    def seen() -> tuple[float, int]:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder, "run")
            with headwater.watch(trainer.model, trainer.optimizer, out=out, every=1):
                seconds = block(trainer, steps)
            run = headwater.Run.open(out)
            if run.info.observation["status"] != "complete":
                raise SystemExit(f"the observation stopped: {run.info.observation['reason']}")
            last = run.sampled_steps[-1]
            return seconds, run.site_rows["step"].to_pylist().count(last)

    if number % 2:
        seconds, nodes = seen()
        return Pair(block(trainer, steps), seconds, nodes)
    plain = block(trainer, steps)
    return Pair(plain, *seen())


def wide(pairs: int, steps: int) -> dict[str, object]:
    """Measure the ratio on the network of 6 layers and 256 units."""
    trainer = transformer(layers=6, width=256)
    ratios = []
    for number in range(pairs):
        plain_s, seen_s, nodes = pair(trainer, steps, number)
        ratios.append(seen_s / plain_s)
        print(f"pair {number + 1} of {pairs}: ratio {ratios[-1]:.3f}", file=sys.stderr)
    return {
        "nodes": nodes,
        "plain_ms": 1e3 * plain_s,
        "ratio": median(ratios),
        "ratios": ratios,
        "limit": LIMIT,
    }


def deep(pairs: int, steps: int) -> dict[str, object]:
    """Measure the added time against the number of nodes, and how straight the line is."""
    trainers = {depth: transformer(layers=depth, width=64, batch=2) for depth in DEPTHS}
    added: dict[int, list[float]] = {depth: [] for depth in DEPTHS}
    nodes = dict.fromkeys(DEPTHS, 0)
    for number in range(pairs):
        for depth, trainer in trainers.items():
            plain_s, seen_s, nodes[depth] = pair(trainer, steps, number)
            added[depth].append(1e3 * (seen_s - plain_s))
        print(f"depths, round {number + 1} of {pairs}", file=sys.stderr)
    x = np.array([nodes[depth] for depth in DEPTHS], dtype=float)
    y = np.array([median(added[depth]) for depth in DEPTHS])
    # The exponent of a power law: 1 is linear, 2 would be quadratic. Blocks too short for the
    # machine's noise can come out cheaper with observation than without; then there is none.
    exponent = np.polyfit(np.log(x), np.log(y), 1)[0] if y.min() > 0 else np.nan
    slope, offset = np.polyfit(x, y, 1)
    return {
        "depths": DEPTHS,
        "nodes": x.tolist(),
        "added_ms": y.tolist(),
        "exponent": float(exponent),
        "us_per_node": float(1e3 * slope),
        "offset_ms": float(offset),
        "r_squared": float(np.corrcoef(x, y)[0, 1] ** 2),
    }


def main() -> None:
    """Print both tables, or with --json all figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=9, help="of blocks (default 9)")
    parser.add_argument("--steps", type=int, default=20, help="of a block (default 20)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    first = wide(arguments.pairs, arguments.steps)
    second = deep(arguments.pairs, arguments.steps)
    if arguments.json:
        print(json.dumps({"every_step": first, "against_nodes": second}, indent=2))
        return
    verdict = "ok" if first["ratio"] <= LIMIT else "OVER"
    print(
        f"every step, 6 layers of 256 units, batch 8 x 64: {first['ratio']:.2f} times a step of "
        f"{first['plain_ms']:.0f} ms ({first['nodes']} nodes; limit {LIMIT}: {verdict})"
    )
    print("\nlayers  nodes  added [ms]  per node [us]")
    for depth, count, added in zip(DEPTHS, second["nodes"], second["added_ms"], strict=True):
        print(f"{depth:>6} {count:>6.0f} {added:>11.2f} {1e3 * added / count:>14.1f}")
    print(
        f"added time = {second['offset_ms']:.2f} ms + {second['us_per_node']:.1f} us a node, "
        f"R^2 {second['r_squared']:.4f}; as a power of the nodes: {second['exponent']:.2f}"
    )


if __name__ == "__main__":
    main()
