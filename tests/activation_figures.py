"""What a record says of activations, and what their derivatives say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import headwater
from headwater.runs.reader import Run

Row = dict[str, Any]


Function = Callable[[Tensor], Tensor]


def readings(run: Run, step: int = 0) -> list[Row]:
    """Return the step's rows of activations in forward order, each with its site."""
    rows = [row for row in run.site_rows.to_pylist() if row["step"] == step]
    found = [row | {"at": run.sites[row["site"]]} for row in rows if row["units"] is not None]
    return found[::-1]


def observed(folder: Path, loss: Callable[[], Tensor], model: nn.Module | None = None) -> list[Row]:
    with headwater.watch(model, every=1, out=folder) as run:
        loss().backward()
    return readings(run.record)


def derivative(function: Function, z: Tensor) -> Tensor:
    point = z.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(function(point).sum(), point)
    return slope.abs()


def largest_derivative(function: Function) -> float:
    grid = torch.linspace(-8, 8, 40_001, dtype=torch.float64)[:, None].expand(-1, 6)
    return float(derivative(function, grid).max())


def compare(row: Row, function: Function, z: Tensor, axis: int = -1) -> None:
    """Check one row against ``function``'s derivative at ``z``, whose units lie along ``axis``."""
    slope = derivative(function, z).movedim(axis, 0)
    slope = slope.reshape(len(slope), -1)
    limit = 0.05 * largest_derivative(function)
    assert row["units"] == len(slope)
    assert row["dead"] == pytest.approx(float((slope == 0).all(1).double().mean()))
    assert row["dead_run"] == row["dead"]
    assert row["saturated"] == pytest.approx(float((slope < limit).double().mean()))
    mean_slope = slope.double().mean(1)
    assert row["saturated_units"] == pytest.approx(float((mean_slope < limit).double().mean()))
    wide = z.double()
    if row["mean"] is not None:
        assert row["mean"] == pytest.approx(float(wide.mean()), rel=1e-4, abs=1e-5)
        assert row["variance"] == pytest.approx(float(wide.var(correction=0)), rel=1e-4)
