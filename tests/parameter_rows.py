"""What a record says of parameters, and what a test measures itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor, nn

from headwater.runs.reader import Run

Row = dict[str, Any]


def size(tensor: Tensor | None) -> float:
    assert tensor is not None
    return float(tensor.detach().double().norm())


def rows(run: Run, step: int = 0) -> dict[str, Row]:
    """Return the step's rows by the parameter's name."""
    names = [info.name for info in run.parameters]
    found = [row for row in run.parameter_rows.to_pylist() if row["step"] == step]
    assert len({row["parameter"] for row in found}) == len(found)
    return {names[row["parameter"]]: row for row in found}


def near(value: float) -> Any:
    return pytest.approx(value, rel=1e-6, abs=0)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))


class Figures(dict[str, dict[str, float]]):
    """What the test itself measured, by column and parameter."""

    def take(self, column: str, model: nn.Module, of: Callable[[Tensor], float]) -> None:
        self[column] = {name: of(p) for name, p in model.named_parameters()}

    def compare(self, found: dict[str, Row]) -> None:
        for column, by_name in self.items():
            for name, value in by_name.items():
                assert found[name][column] == near(value), (column, name)
