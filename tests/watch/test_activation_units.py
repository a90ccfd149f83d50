"""Where an activation's units lie, and what it is applied to, by the layer before it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from activation_figures import (
    Function,
    compare,
    observed,
)
from torch import Tensor, nn

from headwater.watch.activations import first_direction


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


ACTIVATIONS: dict[str, Function] = {
    "relu": F.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": F.gelu,
}


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "linear": (lambda: nn.Linear(4, 6), (9, 4), 1),
    "linear on a sequence": (lambda: nn.Linear(4, 6), (3, 5, 4), 2),
    "linear on a grid": (lambda: nn.Linear(4, 6), (3, 5, 2, 4), 3),
    "linear on one example": (lambda: nn.Linear(4, 6), (4,), 0),
    "linear without bias": (lambda: nn.Linear(4, 6, bias=False), (3, 5, 4), 2),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3), (3, 4, 7), 1),
    "conv1d with features of its own length": (lambda: nn.Conv1d(4, 6, 2), (3, 4, 7), 1),
    "conv2d": (lambda: nn.Conv2d(4, 6, 3), (3, 4, 5, 7), 1),
    "conv2d without bias": (lambda: nn.Conv2d(4, 6, 3, bias=False, stride=2), (3, 4, 6, 8), 1),
    "conv3d": (lambda: nn.Conv3d(4, 6, 2), (3, 4, 3, 4, 5), 1),
    "transposed conv": (lambda: nn.ConvTranspose2d(4, 6, 3), (3, 4, 5, 7), 1),
    "conv and batch norm": (
        lambda: nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6)),
        (3, 4, 5, 7),
        1,
    ),
    "conv and batch norm, evaluating": (
        lambda: nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6)).eval(),
        (3, 4, 5, 7),
        1,
    ),
    "linear and batch norm": (
        lambda: nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6)),
        (9, 4),
        1,
    ),
    "conv and group norm": (
        lambda: nn.Sequential(nn.Conv2d(4, 6, 3), nn.GroupNorm(2, 6)),
        (3, 4, 5, 7),
        1,
    ),
    "linear and layer norm": (
        lambda: nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6)),
        (3, 5, 4),
        2,
    ),
    "linear and dropout": (lambda: nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.0)), (3, 5, 4), 2),
}


@pytest.mark.parametrize("function", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("name", LAYERS)
def test_units_lie_where_the_layer_has_them(name: str, function: str, tmp_path: Path) -> None:
    build, shape, axis = LAYERS[name]
    model, x, act = build(), torch.randn(shape), ACTIVATIONS[function]
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
        if isinstance(getattr(module, "bias", None), Tensor):  # one unit below zero for good
            nn.init.normal_(module.bias)
            module.bias.data[2] = -60.0
    with torch.no_grad():
        z = model(x)
        model(x)
    (row,) = observed(tmp_path / "run", lambda: act(model(x)).sum())
    compare(row, act, z, axis)
    has_bias = any("bias" in n for n, _ in model.named_parameters())
    if function == "relu" and has_bias:
        assert row["dead"] >= 1 / 6
    if function == "gelu" or not name.endswith("dropout"):
        assert row["mean"] is not None


class Residual(nn.Module):
    def __init__(self, act: Function, *, in_place: bool = False) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(4, 6)
        self.act, self.in_place = act, in_place

    def sum_of_branches(self, x: Tensor) -> Tensor:
        h = self.first(x)
        if self.in_place:
            h += self.second(x)
            return h
        return h + self.second(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.sum_of_branches(x))


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("act", ["relu", "tanh", "sigmoid"])
def test_the_pre_activation_of_a_residual_sum_is_known(
    act: str, in_place: bool, tmp_path: Path
) -> None:
    model, x = Residual(ACTIVATIONS[act], in_place=in_place), torch.randn(20, 4)
    (row,) = observed(tmp_path / "run", lambda: model(x).sum(), model)
    compare(row, ACTIVATIONS[act], model.sum_of_branches(x).detach())
    assert row["mean"] is not None


@pytest.mark.parametrize("act", ["relu", "tanh", "sigmoid"])
def test_the_pre_activation_under_autocast_is_known(act: str, tmp_path: Path) -> None:
    linear, x = nn.Linear(4, 6), torch.randn(50, 4)

    def loss() -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return ACTIVATIONS[act](linear(x)).sum()

    (row,) = observed(tmp_path / "run", loss)
    z = linear(x).detach().double()
    assert row["mean"] == pytest.approx(float(z.mean()), abs=0.01)
    assert row["variance"] == pytest.approx(float(z.var(correction=0)), rel=0.02)


def test_axes_that_move_between_layer_and_activation_are_followed(tmp_path: Path) -> None:
    norm, linear, x = nn.BatchNorm1d(6), nn.Linear(4, 6), torch.randn(9, 5, 4)
    norm.bias.data[2] = -60.0

    def h() -> Tensor:
        return norm(linear(x).transpose(1, 2)).transpose(1, 2)

    z = h().detach()
    (row,) = observed(tmp_path / "batch", lambda: F.relu(h()).sum())
    compare(row, F.relu, z, axis=2)
    assert row["dead"] == pytest.approx(1 / 6)
    conv, images = nn.Conv2d(3, 6, 3), torch.randn(2, 3, 6, 7)
    conv.bias.data[2] = -60.0
    (row,) = observed(tmp_path / "conv", lambda: F.relu(conv(images).permute(0, 2, 3, 1)).sum())
    compare(row, F.relu, conv(images).permute(0, 2, 3, 1).detach(), axis=3)
    assert row["dead"] == pytest.approx(1 / 6)


@pytest.mark.parametrize("shape", [(200, 24), (8, 3), (5, 40, 16)])
def test_the_share_in_the_first_direction_is_that_of_a_decomposition(
    shape: tuple[int, ...],
) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape) * torch.linspace(1, 9, shape[-1]) ** 3
    rows = x.reshape(-1, shape[-1])
    rows = rows[:: -(-len(rows) // 64)].double()
    values = torch.linalg.svdvals(rows - rows.mean(0)).square()
    exact = float(values[0] / values.sum())
    share = first_direction(x)
    assert isinstance(share, float)
    assert 0.93 * exact < share < 1.0001 * exact  # a lower bound
    line = torch.randn(rows.shape[0], 1) * torch.randn(1, shape[-1])
    nearly = line + 0.01 * torch.randn(line.shape)
    values = torch.linalg.svdvals((nearly - nearly.mean(0)).double()).square()
    assert first_direction(nearly) == pytest.approx(float(values[0] / values.sum()), abs=1e-5)


def test_equal_examples_and_too_few_of_them_have_no_direction() -> None:
    assert first_direction(torch.ones(16, 4)) == 0.0
    assert first_direction(torch.randn(7, 4)) is None
    assert first_direction(torch.randn(16, 2)) is None
