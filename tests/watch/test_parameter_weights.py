"""Updates, units and shares of entries, against plain recomputation outside the observer."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from parameter_rows import network, rows, size
from torch import Tensor, nn

import headwater


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_a_relative_update_is_the_change_over_the_weight(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    model = network().to(dtype)
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.05)
    before = {name: p.detach().clone().double() for name, p in model.named_parameters()}
    with headwater.watch(model, optimiser, every=1, out=tmp_path / "run") as run:
        model(torch.randn(5, 4, dtype=dtype)).float().square().mean().backward()
        optimiser.step()
    for name, p in model.named_parameters():
        expected = size(p.double() - before[name]) / size(before[name])
        row = rows(run.record)[name]
        assert row["relative_update"] == pytest.approx(expected, rel=1e-5)
        gradient = p.grad
        moving = gradient != 0
        same = p.detach().double() == before[name]
        assert row["lost_share"] == float((moving & same).sum() / moving.sum())


@pytest.mark.parametrize(
    ("dtype", "rate", "lost"),
    [
        (torch.float32, 1e-9, 1.0),
        (torch.float32, 1e-6, 0.0),
        (torch.bfloat16, 1e-3, 1.0),
        (torch.bfloat16, 1e-1, 0.0),
        (torch.float64, 1e-9, 0.0),
    ],
)
def test_updates_below_the_weight_s_spacing_are_lost(
    dtype: torch.dtype, rate: float, lost: float, tmp_path: Path
) -> None:
    weight = nn.Parameter(torch.ones(3, 5, dtype=dtype))
    optimiser = torch.optim.SGD([weight], lr=rate)
    with headwater.watch(optimizer=optimiser, every=1, out=tmp_path / "run") as run:
        weight[:, :4].sum().backward()  # a fifth has no gradient, and so nothing to lose
        optimiser.step()
    (row,) = rows(run.record).values()
    assert row["lost_share"] == lost
    assert row["zero_share"] == pytest.approx(0.2)


def test_a_layer_of_up_to_64_units_lists_all_and_a_larger_one_its_quantiles(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(5, 64), nn.Linear(64, 200), nn.Linear(200, 1))
    expected = {n: p.detach().double().abs().sum(dim=-1) for n, p in model.named_parameters()}
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    with headwater.watch(model, optimiser, every=1, out=tmp_path / "run") as run:
        model(torch.randn(3, 5)).sum().backward()
        optimiser.step()
    found = rows(run.record)
    assert found["0.weight"]["units"] == 64
    assert found["0.weight"]["unit_l1"] == pytest.approx(expected["0.weight"].tolist(), rel=1e-6)
    assert found["1.weight"]["units"] == 200
    ordered = np.sort(expected["1.weight"].numpy())
    quantiles = np.quantile(ordered, np.linspace(0, 1, 65), method="nearest")
    assert found["1.weight"]["unit_l1"] == pytest.approx(quantiles.tolist(), rel=1e-6)
    assert (found["2.weight"]["units"], len(found["2.weight"]["unit_l1"])) == (1, 1)
    assert found["0.bias"]["units"] is None
    assert found["0.bias"]["unit_l1"] is None


def conv1d_of_transformers() -> nn.Module:
    library = pytest.importorskip("transformers.pytorch_utils")
    layer: nn.Module = library.Conv1D(6, 4)
    return layer


UNITS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], Callable[[Tensor], Tensor]]] = {
    "conv": (lambda: nn.Conv2d(4, 6, 3), (2, 4, 5, 5), lambda w: w.abs().sum((1, 2, 3))),
    "grouped conv": (
        lambda: nn.Conv2d(4, 6, 3, groups=2),
        (2, 4, 5, 5),
        lambda w: w.abs().sum((1, 2, 3)),
    ),
    "transposed conv": (
        lambda: nn.ConvTranspose2d(4, 6, 3),
        (2, 4, 5, 5),
        lambda w: w.abs().sum((0, 2, 3)),
    ),
    "transposed and grouped conv": (
        lambda: nn.ConvTranspose1d(4, 6, 3, groups=2),
        (2, 4, 5),
        lambda w: w.view(2, 2, 3, 3).abs().sum((1, 3)).flatten(),
    ),
    "transformers' Conv1D": (conv1d_of_transformers, (2, 4), lambda w: w.abs().sum(0)),
    "float64 linear": (
        lambda: nn.Linear(4, 6).double(),
        (2, 4),
        lambda w: w.abs().sum(1),
    ),
}


@pytest.mark.parametrize("name", UNITS)
def test_units_are_the_outputs_whatever_the_layout_of_the_weight(name: str, tmp_path: Path) -> None:
    build, shape, l1 = UNITS[name]
    layer = build()
    weight = layer.weight
    with torch.no_grad():
        weight.copy_(torch.randn_like(weight) + torch.arange(weight.numel()).view_as(weight))
    expected = l1(weight.detach().double()).tolist()
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.1)
    with headwater.watch(layer, optimiser, every=1, out=tmp_path / "run") as run:
        layer(torch.randn(shape, dtype=weight.dtype)).sum().backward()
        optimiser.step()
    row = rows(run.record)["weight"]
    assert row["units"] == 6
    assert row["unit_l1"] == pytest.approx(expected, rel=1e-6)


def test_shares_count_entries_in_the_gradient_s_own_dtype(tmp_path: Path) -> None:
    model = nn.ParameterDict(
        {
            "full": nn.Parameter(torch.ones(8)),
            "float16": nn.Parameter(torch.ones(8, dtype=torch.float16)),
            "sparse": nn.Parameter(torch.ones(4, 2)),
            "empty": nn.Parameter(torch.ones(0, 3)),
            "scalar": nn.Parameter(torch.tensor(1.0)),
        }
    )
    with headwater.watch(model, every=1, out=tmp_path / "run") as run:
        loss = (model["full"] * torch.tensor([0, 0, 1e-40, 1, -3, math.inf, math.nan, 2])).sum()
        small = torch.tensor([0, 1e-5, 1e-5, 1, 1, 1, 1, 1], dtype=torch.float16)
        loss = loss + (model["float16"] * small).sum().float()
        picked = torch.nn.functional.embedding(torch.tensor([1, 1]), model["sparse"], sparse=True)
        loss = loss + picked[:, 0].sum() + model["empty"].sum() + 5 * model["scalar"]
        loss.backward()
    found = rows(run.record)
    full, half, sparse = found["full"], found["float16"], found["sparse"]
    assert (full["zero_share"], full["subnormal_share"]) == (0.25, 0.125)
    assert full["nonfinite_share"] == 0.25
    assert math.isnan(full["gradient_max"])
    assert math.isnan(full["raw_norm"])
    assert (half["zero_share"], half["subnormal_share"]) == (0.125, 0.25)
    assert (sparse["zero_share"], sparse["gradient_max"]) == (7 / 8, 2.0)
    assert sparse["raw_norm"] == 2.0
    assert (found["empty"]["raw_norm"], found["empty"]["zero_share"]) == (0.0, 0.0)
    assert (found["scalar"]["raw_norm"], found["scalar"]["gradient_max"]) == (5.0, 5.0)
