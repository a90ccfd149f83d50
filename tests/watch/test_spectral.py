"""The spectral radius of recurrent weights: against eigenvalues, and what the record has of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import headwater
from headwater.watch.spectral import spectral_radius


def by_eigenvalues(weight: Tensor) -> float:
    return float(torch.linalg.eigvals(weight.detach().double()).abs().max())


@pytest.mark.parametrize("rows", [1, 2, 7, 64, 256])
@pytest.mark.parametrize("scale", [1e-12, 0.5, 1.5, 1e9])
def test_it_is_the_largest_eigenvalue_s_magnitude(rows: int, scale: float) -> None:
    torch.manual_seed(rows)
    weight = torch.randn(rows, rows) * scale / rows**0.5
    assert spectral_radius(weight) == pytest.approx(by_eigenvalues(weight), rel=0.01)


def test_it_is_one_of_orthogonal_weights_and_nothing_of_weights_that_end() -> None:
    assert spectral_radius(nn.init.orthogonal_(torch.empty(50, 50))) == pytest.approx(1, rel=2e-3)
    assert spectral_radius(torch.ones(9, 9).triu(1)) == 0
    assert spectral_radius(torch.eye(3, dtype=torch.bfloat16) * 0.5) == pytest.approx(0.5, rel=1e-3)


def test_far_from_normal_it_is_not_the_norm() -> None:
    weight = torch.tensor([[0.5, 1000.0], [0.0, 0.5]])
    assert spectral_radius(weight) == pytest.approx(0.5, rel=0.02)


def test_what_has_none_has_none() -> None:
    assert spectral_radius(torch.ones(4, 3)) is None
    assert spectral_radius(torch.ones(3)) is None
    assert spectral_radius(torch.ones(2, 2, 2)) is None
    assert spectral_radius(torch.ones(0, 0)) is None
    assert spectral_radius(torch.ones(513, 513)) is None
    assert spectral_radius(torch.ones(2, 2, dtype=torch.int64)) is None
    broken = spectral_radius(torch.full((2, 2), float("nan")))
    assert isinstance(broken, float)
    assert broken != broken


class Loop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inward, self.recurrent = nn.Linear(2, 6), nn.Linear(6, 6, bias=False)
        self.read = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), 6)
        for moment in x.unbind(1):
            state = (self.inward(moment) + self.recurrent(state)).tanh()
        return self.read(state)


class Cells(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.cells, self.read = kind(2, 6, batch_first=True), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.read(self.cells(x)[0][:, -1])


def recorded(model: nn.Module, folder: Path, *, moments: int) -> dict[str, list[float | None]]:
    torch.manual_seed(0)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    with headwater.watch(out=folder, every=1) as run:
        for _ in range(3):
            optimiser.zero_grad()
            model(torch.randn(4, moments, 2)).square().mean().backward()
            optimiser.step()
    names = [info.name for info in run.record.parameters]
    rows = run.record.parameter_rows.to_pylist()
    return {
        name: [row["spectral_radius"] for row in rows if names[row["parameter"]] == name]
        for name in names
    }


@pytest.mark.parametrize(
    ("make", "recurrent"),
    [(Loop, "recurrent.weight"), (lambda: Cells(nn.RNN), "cells.weight_hh_l0")],
)
def test_the_record_has_it_of_the_weights_of_a_loop(
    make: type[nn.Module], recurrent: str, tmp_path: Path
) -> None:
    model = make()
    before = by_eigenvalues(model.get_parameter(recurrent))
    found = recorded(model, tmp_path / "run", moments=12)
    first, *rest = found.pop(recurrent)
    assert first == pytest.approx(before, rel=0.02)
    assert all(isinstance(radius, float) for radius in rest)
    assert all(radius is None for radii in found.values() for radius in radii)


def test_few_calls_are_no_loop_and_gated_cells_have_no_one_radius(tmp_path: Path) -> None:
    short = recorded(Loop(), tmp_path / "short", moments=3)
    gated = recorded(Cells(nn.GRU), tmp_path / "gated", moments=12)
    assert {radius for found in (short, gated) for radii in found.values() for radius in radii} == {
        None
    }
