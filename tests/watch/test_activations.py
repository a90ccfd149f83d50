"""Dead and saturated units and moments of pre-activations, against derivatives taken apart."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from activation_figures import (
    Function,
    compare,
    derivative,
    largest_derivative,
    observed,
    readings,
)
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import headwater


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def per_unit_prelu(z: Tensor) -> Tensor:
    return F.prelu(z, torch.tensor([0.25, 0.0, 2.0, 0.01, 0.5, 0.25], dtype=z.dtype))


SMOOTH: dict[str, Function] = {
    "relu": F.relu,
    "torch.relu": torch.relu,
    "Tensor.relu": lambda z: z.relu(),
    "ReLU": nn.ReLU(),
    "tanh": torch.tanh,
    "F.tanh": F.tanh,
    "Tanh": nn.Tanh(),
    "sigmoid": torch.sigmoid,
    "expit": torch.special.expit,
    "Sigmoid": nn.Sigmoid(),
    "relu6": F.relu6,
    "ReLU6": nn.ReLU6(),
    "hardtanh": lambda z: F.hardtanh(z, -0.5, 2.0),
    "Hardtanh": nn.Hardtanh(),
    "leaky relu": lambda z: F.leaky_relu(z, 0.2),
    "LeakyReLU": nn.LeakyReLU(),
    "leaky relu, steep": lambda z: F.leaky_relu(z, 1.5),
    "elu": lambda z: F.elu(z, 2.0),
    "ELU": nn.ELU(),
    "selu": F.selu,
    "SELU": nn.SELU(),
    "celu": lambda z: F.celu(z, 0.5),
    "CELU": nn.CELU(),
    "gelu": F.gelu,
    "GELU by tanh": nn.GELU("tanh"),
    "silu": F.silu,
    "SiLU": nn.SiLU(),
    "mish": F.mish,
    "Mish": nn.Mish(),
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "softplus": F.softplus,
    "Softplus": nn.Softplus(beta=2, threshold=3),
    "logsigmoid": F.logsigmoid,
    "threshold": lambda z: F.threshold(z, 0.3, -1.0),
    "hardshrink": F.hardshrink,
    "softshrink": lambda z: F.softshrink(z, 0.7),
    "prelu": lambda z: F.prelu(z, torch.tensor([0.25], dtype=z.dtype)),
    "prelu by unit": per_unit_prelu,
    "rrelu when not training": lambda z: F.rrelu(z, 0.01, 0.03, training=False),
    "sin": torch.sin,
    "erf": torch.erf,
}


IN_PLACE: dict[str, tuple[Function, Function]] = {
    "relu_": (torch.relu, torch.relu_),
    "Tensor.relu_": (torch.relu, lambda z: z.relu_()),
    "ReLU": (torch.relu, nn.ReLU(inplace=True)),
    "F.relu_": (torch.relu, F.relu_),
    "tanh_": (torch.tanh, torch.tanh_),
    "sigmoid_": (torch.sigmoid, torch.sigmoid_),
    "leaky_relu_": (lambda z: F.leaky_relu(z, 0.2), lambda z: F.leaky_relu_(z, 0.2)),
    "LeakyReLU": (F.leaky_relu, nn.LeakyReLU(inplace=True)),
    "elu_": (F.elu, F.elu_),
    "ELU": (lambda z: F.elu(z, 2.0), nn.ELU(2.0, inplace=True)),
    "selu_": (F.selu, F.selu_),
    "celu_": (F.celu, F.celu_),
    "CELU": (lambda z: F.celu(z, 0.5), nn.CELU(0.5, inplace=True)),
    "hardtanh_": (F.hardtanh, F.hardtanh_),
    "ReLU6": (F.relu6, nn.ReLU6(inplace=True)),
    "SiLU": (F.silu, nn.SiLU(inplace=True)),
    "Mish": (F.mish, nn.Mish(inplace=True)),
    "Hardswish": (F.hardswish, nn.Hardswish(inplace=True)),
    "Hardsigmoid": (F.hardsigmoid, nn.Hardsigmoid(inplace=True)),
    "threshold_": (lambda z: F.threshold(z, 0.3, -1), lambda z: F.threshold_(z, 0.3, -1)),
    "rrelu_ when not training": (
        lambda z: F.rrelu(z, 0.1, 0.3, training=False),
        lambda z: F.rrelu_(z, 0.1, 0.3, training=False),
    ),
}


def layer() -> nn.Linear:
    """Return a layer with a unit dead for ReLU, one saturated everywhere, and four ordinary."""
    linear = nn.Linear(4, 6)
    with torch.no_grad():
        linear.weight.mul_(5)
        linear.bias.copy_(torch.tensor([-60.0, 30.0, 0.0, 1.0, -1.0, 0.5]))
        linear.weight[:2] *= 0.1
    return linear


@pytest.mark.parametrize("name", SMOOTH)
def test_an_activation_is_read_as_its_derivative_says(name: str, tmp_path: Path) -> None:
    linear, x, function = layer(), torch.randn(40, 4), SMOOTH[name]
    (row,) = observed(tmp_path / "run", lambda: function(linear(x)).sum())
    compare(row, function, linear(x).detach())
    assert row["at"].kind == "activation"
    assert row["mean"] is not None


@pytest.mark.parametrize("name", IN_PLACE)
def test_an_activation_in_place_is_read_like_the_one_beside_it(name: str, tmp_path: Path) -> None:
    linear, x, (function, in_place) = layer(), torch.randn(40, 4), IN_PLACE[name]
    (row,) = observed(tmp_path / "run", lambda: in_place(linear(x)).sum())
    z = linear(x).detach()
    assert torch.equal(in_place(z.clone()), function(z))
    compare(row, lambda z: in_place(z * 1), z)
    assert row["mean"] is not None
    assert row["at"].kind == "activation"


def test_a_random_slope_is_the_one_that_was_drawn(tmp_path: Path) -> None:
    linear, x = layer(), torch.randn(40, 4)
    activation = nn.RReLU(0.0, 0.1)
    (row,) = observed(tmp_path / "run", lambda: activation(linear(x)).sum())
    assert (row["units"], row["dead"]) == (6, 0.0)
    share = float((linear(x) < 0).double().mean())
    assert share * 0.3 < row["saturated"] < share * 0.7  # half of the slopes are under 0.05


@pytest.mark.parametrize("name", ["gelu", "silu", "Mish", "hardswish"])
def test_a_dip_below_zero_is_not_death(name: str, tmp_path: Path) -> None:
    weight = nn.Parameter(torch.linspace(-6, 6, 97)[:, None].repeat(1, 3))
    (row,) = observed(tmp_path / "run", lambda: SMOOTH[name](weight * 1.0).sum())
    compare(row, SMOOTH[name], weight.detach())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["relu", "tanh", "gelu"])
def test_other_dtypes_are_read_too(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    linear, x, function = layer().to(dtype), torch.randn(40, 4, dtype=dtype), SMOOTH[name]
    (row,) = observed(tmp_path / "run", lambda: function(linear(x)).sum())
    z = linear(x).detach().double()
    slope = derivative(function, z.double())
    limit = 0.05 * largest_derivative(function)
    assert row["saturated"] == pytest.approx(float((slope < limit).double().mean()), abs=0.02)
    assert row["mean"] == pytest.approx(float(z.mean()), rel=0.01)
    assert row["variance"] == pytest.approx(float(z.var(correction=0)), rel=0.01)


def test_a_unit_is_dead_in_the_run_only_if_it_never_lived(tmp_path: Path) -> None:
    linear = nn.Linear(1, 4, bias=False)
    linear.weight.data.copy_(torch.tensor([[1.0], [1.0], [-1.0], [0.0]]))
    signs = [1, 1, 1, -1, 1, 1]  # the third unit lives at the fourth sample alone
    optimiser = torch.optim.SGD(linear.parameters(), lr=0.0)
    with headwater.watch(linear, optimiser, every=1, out=tmp_path / "run") as run:
        for sign in signs:
            torch.relu(linear(torch.full((5, 1), float(sign)))).sum().backward()
            optimiser.step()
    found = [readings(run.record, step)[0] for step in range(len(signs))]
    assert [row["dead"] for row in found] == [0.5, 0.5, 0.5, 0.75, 0.5, 0.5]
    assert [row["dead_recent"] for row in found] == [None, None, 0.5, 0.25, 0.25, 0.25]
    assert [row["dead_run"] for row in found] == [0.5, 0.5, 0.5, 0.25, 0.25, 0.25]


def test_the_calls_of_a_shared_activation_are_remembered_apart(tmp_path: Path) -> None:
    layers = nn.ModuleList(nn.Linear(3, 3, bias=False) for _ in range(3))
    for layer_, weight in zip(layers, (1.0, -1.0, 1.0), strict=True):
        layer_.weight.data.copy_(weight * torch.eye(3))
    optimiser = torch.optim.SGD(layers.parameters(), lr=0.0)
    with headwater.watch(layers, optimiser, every=1, out=tmp_path / "run") as run:
        for _ in range(2):
            h = torch.ones(4, 3)
            for layer_ in layers:
                h = torch.relu(layer_(h))
            h.sum().backward()
            optimiser.step()
    found = readings(run.record, 1)
    assert [row["call"] for row in found] == [0, 1, 2]
    assert [row["dead_run"] for row in found] == [0.0, 1.0, 1.0]


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpointed_block_is_computed_no_more_often_than_unobserved(
    reentrant: bool, tmp_path: Path
) -> None:
    calls: list[int] = []

    class Block(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            calls.append(1)
            return torch.relu(super().forward(x))

    model, x = nn.Sequential(Block(4, 4), Block(4, 4)), torch.randn(5, 4, requires_grad=True)

    def loss() -> Tensor:
        h = x
        for block in model:
            h = checkpoint(block, h, use_reentrant=reentrant)
        return torch.tanh(h).sum()

    loss().backward()
    plain = len(calls)
    calls.clear()
    found = observed(tmp_path / "run", loss, model)
    assert len(calls) == plain == 4
    names = [row["at"].operation for row in found]
    assert "Tanh" in names
    assert ("Relu" in names) is reentrant  # the recomputed graph of the reentrant kind is plain


def test_a_gated_unit_and_what_is_made_of_others_have_no_figures(tmp_path: Path) -> None:
    linear, x = nn.Linear(4, 6), torch.randn(5, 4)
    with headwater.watch(every=1, out=tmp_path / "run") as run:
        F.glu(linear(x)).sum().backward()
    (site,) = [site for site in run.record.sites if site.operation == "Glu"]
    assert site.kind == "activation"
    assert readings(run.record) == []


def test_what_is_not_finite_is_neither_dead_nor_hidden(tmp_path: Path) -> None:
    linear, x = nn.Linear(4, 6), torch.randn(5, 4)
    x[0, 0] = math.nan
    (row,) = observed(tmp_path / "run", lambda: torch.tanh(linear(x)).sum())
    assert row["dead"] == 0.0
    assert row["mean"] is None or math.isnan(row["mean"])
