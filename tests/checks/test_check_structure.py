"""How a measured graph is read: the signal's way, and the layers that theory knows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headwater.checks.descriptions import Stage, flat
from headwater.checks.feeds import feed
from headwater.checks.readings import read
from headwater.checks.structure import Fork, Step, signal_way
from headwater.theory.layers import (
    Activate,
    AveragePool,
    BatchNorm,
    Convolution,
    Dense,
    Dropout,
    LayerNorm,
    NotCovered,
    Residual,
    Scale,
)


class Called(nn.Module):
    """A network of two layers with any function between them."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.first(x)))


def stages(model: nn.Module, batch: Tensor | None = None) -> tuple[Stage, ...]:
    torch.manual_seed(0)
    return read(model, feed(model, batch)).stages


def test_branches_that_part_and_meet_are_one_part_of_the_way() -> None:
    # 0 = 1 + 2; 1 = f(3), 2 = g(3); 3 reads 4.
    edges = (((1, 0), (2, 0)), ((3, 0),), ((3, 0),), ((4, 0),), ())
    signal = ((True, True), (True,), (True,), (True,), ())
    assert signal_way(edges, signal, 0) == (
        Step(4),
        Step(3),
        Fork(join=0, branches=((Step(1),), (Step(2),))),
    )


def test_branches_within_branches_and_ends_apart_are_found() -> None:
    # 0 = 1 + 5, whose signals begin apart; 1 = 2 + 3 and both read 4.
    edges = (((1, 0), (5, 0)), ((2, 0), (3, 0)), ((4, 0),), ((4, 0),), (), ())
    signal = tuple((True,) * len(kids) for kids in edges)
    inner = Fork(join=1, branches=((Step(2),), (Step(3),)))
    assert signal_way(edges, signal, 0) == (Fork(join=0, branches=((Step(4), inner), (Step(5),))),)


def test_a_graph_of_many_thousand_nodes_is_read_without_recursion() -> None:
    count = 20_000
    edges = (*(((node + 1, 0),) for node in range(count - 1)), ())
    way = signal_way(edges, tuple((True,) * len(kids) for kids in edges), 0)
    assert len(way) == count
    assert way[0] == Step(count - 1)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (torch.sigmoid, "sigmoid"),
        (torch.tanh, "tanh"),
        (F.relu, "relu"),
        (lambda x: F.relu(x, inplace=True), "relu"),
        (lambda x: F.leaky_relu(x, 0.2), "leaky_relu(0.2)"),
        (nn.PReLU(init=0.1), "prelu(0.1)"),
        (lambda x: F.rrelu(x, training=True), "rrelu(0.125, 0.3333333333333333, train)"),
        (F.elu, "elu(1.0)"),
        (F.selu, "selu"),
        (lambda x: F.celu(x, 2.0), "celu(2.0)"),
        (F.gelu, "gelu"),
        (lambda x: F.gelu(x, approximate="tanh"), "gelu_tanh"),
        (F.silu, "silu"),
        (lambda x: x * torch.sigmoid(x), "silu"),
        (F.mish, "mish"),
        (F.hardswish, "hardswish"),
        (F.hardsigmoid, "hardsigmoid"),
        (F.relu6, "relu6"),
        (F.hardtanh, "hardtanh"),
        (F.softplus, "softplus"),
        (F.softsign, "softsign"),
        (F.tanhshrink, "tanhshrink"),
        (F.logsigmoid, "logsigmoid"),
        (torch.sin, "sin"),
        (torch.erf, "erf"),
        (lambda x: F.relu(x) ** 2, "relu2"),
    ],
)
def test_every_activation_is_known_however_it_is_called(
    function: Callable[[Tensor], Tensor], name: str
) -> None:
    found = [s.layer for s in stages(Called(function))]
    assert len(found) == 3
    activation = found[1]
    assert isinstance(activation, Activate)
    assert activation.activation == name
    assert activation.width == 8


def test_a_dense_layer_has_its_own_figures() -> None:
    model = Called(torch.tanh)
    first, _, last = stages(model)
    weight = model.first.weight.detach().double()
    assert isinstance(first.layer, Dense)
    assert first.layer.weight_variance == pytest.approx(6 * float(weight.square().mean()))
    assert first.layer.bias_variance == pytest.approx(
        float(model.first.bias.detach().double().square().mean())
    )
    assert (first.weights.name, first.weights.bias) == ("first.weight", "first.bias")  # type: ignore[union-attr]
    assert (last.weights.fan_in, last.weights.width) == (8, 3)  # type: ignore[union-attr]


@pytest.mark.parametrize("shape", [(4, 6), (4, 5, 6), (2, 3, 5, 6)])
@pytest.mark.parametrize("bias", [True, False])
def test_sequences_and_missing_biases_make_no_difference(
    shape: tuple[int, ...], bias: bool
) -> None:
    model = nn.Sequential(nn.Linear(6, 8, bias=bias), nn.Tanh(), nn.Linear(8, 3, bias=bias))
    found = stages(model, torch.randn(shape))
    assert [type(stage.layer) for stage in found] == [Dense, Activate, Dense]
    assert all(stage.output is not None for stage in found)


def test_a_weight_that_is_used_as_it_stands_has_its_units_last() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(6, 8))

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.weight

    (only,) = stages(Own(), torch.randn(4, 6))
    assert only.weights is not None
    assert (only.weights.fan_in, only.weights.width, only.weights.units_first) == (6, 8, False)


class Block(nn.Module):
    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.conv(F.relu(self.norm(x)))


def test_a_residual_network_is_read_with_its_branches() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        Block(0.5),
        nn.GELU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(8, 4),
    )
    found = stages(model, torch.randn(8, 3, 6, 6))
    kinds = [type(stage.layer) for stage in found]
    assert kinds == [Convolution, Residual, Activate, AveragePool, Dropout, Dense]
    convolution, residual, _, pool, dropout, _ = (stage.layer for stage in found)
    assert convolution.inside == pytest.approx((16 / 18) ** 2)  # type: ignore[union-attr]
    branch = residual.branch  # type: ignore[union-attr]
    assert [type(layer) for layer in branch] == [BatchNorm, Activate, Convolution, Scale]
    assert branch[-1].factor == pytest.approx(0.5)
    assert pool.window == 36  # type: ignore[union-attr]
    assert dropout.rate == 0.2  # type: ignore[union-attr]
    names = [stage.weights.name for stage in flat(found) if stage.weights is not None]
    assert names == ["0.weight", "1.conv.weight", "6.weight"]


def test_a_projection_on_the_stream_is_part_of_the_sum() -> None:
    class Down(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.skip, self.body = nn.Linear(6, 8), nn.Linear(8, 5), nn.Linear(8, 5)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            return self.skip(x) + self.body(torch.tanh(x))

    _, joined = (stage.layer for stage in stages(Down()))
    assert isinstance(joined, Residual)
    assert {type(layer) for layer in (*joined.skip, *joined.branch)} == {Dense, Activate}


def test_what_theory_does_not_cover_says_why() -> None:
    encoder = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    found = flat(stages(encoder, torch.randn(4, 5, 16)))
    whys = {stage.layer.why for stage in found if isinstance(stage.layer, NotCovered)}
    assert any("several ways" in why for why in whys)
    assert [type(s.layer) for s in found].count(LayerNorm) == 2
    shifted = Called(torch.tanh)
    nn.init.uniform_(shifted.last.weight, 0, 1)
    assert "mean 0." in stages(shifted)[-1].layer.why  # type: ignore[union-attr]
    empty = Called(torch.tanh)
    nn.init.zeros_(empty.last.weight)
    assert "all 0" in stages(empty)[-1].layer.why  # type: ignore[union-attr]


def test_reading_leaves_the_network_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 2))
    model(torch.randn(8, 4)).sum().backward()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = [parameter.grad for parameter in model.parameters()]
    torch.manual_seed(3)
    random = torch.random.get_rng_state()
    read(model, feed(model, torch.zeros(8, 4)))
    assert torch.equal(torch.random.get_rng_state(), random)
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(p.grad is g for p, g in zip(model.parameters(), gradients, strict=True))
    assert not any(m._forward_hooks or m._backward_hooks for m in model.modules())
