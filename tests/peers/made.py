"""Made-up runs of the peers' tests: a small network that does one thing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import made_up
import numpy as np
from benchmarks.peers.columns import Columns

ROW = {
    "raw_norm": 1.0, "zero_share": 0.0, "nonfinite_share": 0.0, "weight_norm": 5.0,
    "weight_nonfinite_share": 0.0, "relative_update": 0.01, "units": 4,
    "unit_l1": [4.0, 5.0, 6.0, 7.0], "gradient_exponent": -3, "gradient_counts": [8, 8],
    "gradient_zeros": 0,
}  # fmt: skip
RELU = {"dead": 0.0, "saturated_units": 0.0, "mean": 0.0, "variance": 1.0, "units": 4}


def falling(steps: int = 240) -> list[float]:
    """Return a loss that falls by 2 % a step."""
    return [float(0.98**step) for step in range(steps)]


def columns(
    folder: Path,
    losses: Sequence[float],
    *,
    norms: Sequence[float] = (1.0, 1.0),
    row: dict[str, Any] | None = None,
    layer: dict[str, Any] | None = None,
    operation: str = "Relu",
    loss: str = "NllLoss",
) -> Columns:
    """Make up a run of two weights, sampled at every eighth step."""
    sampled = range(0, len(losses), 8)
    info = {
        "parameters": [
            made_up.parameter("a.weight", (4, 4)),
            made_up.parameter("b.weight", (2, 4)),
        ],
        "modules": [{"path": "a", "type": "Linear"}, {"path": "b", "type": "Linear"}],
        "sites": [
            made_up.site(loss, "loss"),
            made_up.site("LogSoftmax", "loss"),
            made_up.site(operation, "activation"),
        ],
    }
    values = {**ROW, **(row or {})}
    return Columns(made_up.run(
        folder, info=info,
        pulse=[{"loss": one, "total_norm": 1.0, "gradient_norms": list(norms)} for one in losses],
        parameters=[{"step": step, "parameter": at, **values} for step in sampled for at in (0, 1)],
        sites=[
            made_up.node(at, at - 1, step=step, **({**RELU, **(layer or {})} if at == 2 else {}))
            for step in sampled for at in range(3)
        ],
    ))  # fmt: skip


def noisy(steps: int = 240) -> list[float]:
    """Return a loss that leaps up and down."""
    rng = np.random.default_rng(0)
    return [float(one) for one in rng.uniform(0.05, 1.5, steps)]
