"""What the initialisers read, what they leave alone, and what they say."""

from __future__ import annotations

import math

import pytest
import torch
from deep_nets import log10_ratio, plain
from torch import Tensor, nn
from torch.nn import functional

import headwater as hw
from headwater.errors import UsageError


class Functional(nn.Module):
    """Activations that are functions, one weight used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(8, 64), nn.Linear(64, 64), nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = functional.tanh(self.first(x))
        h = functional.relu(self.middle(h))
        return self.last(functional.tanh(self.middle(h)))


class Block(nn.Module):
    """A residual branch that batch norm ends."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.again = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.end = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        h = functional.relu(self.norm(self.conv(x)))
        return functional.relu(x + self.end(self.again(h)))


def _conv_net() -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, padding=1), nn.ReLU()]
    for _ in range(9):
        layers += [nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


def _residual_net() -> nn.Module:
    blocks = [Block(16) for _ in range(4)]
    stem = nn.Conv2d(3, 16, 3, padding=1)
    return nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


def _square(output: Tensor) -> Tensor:
    return output.square().mean()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_a_function_before_a_weight_is_seen_and_a_tied_weight_is_drawn_once() -> None:
    done = hw.critical_(Functional(), quiet=True)
    assert done["last.weight"].follows == "tanh"
    assert "used 2 times and drawn once" in done["middle.weight"].note
    assert len(done.changes) == 3


def test_a_convolutional_network_keeps_its_gradient() -> None:
    images = torch.randn(16, 3, 12, 12)
    for set_weights in (hw.critical_, hw.balance_):
        net = _conv_net()
        if set_weights is hw.critical_:
            hw.critical_(net, images, quiet=True)
        else:
            hw.balance_(net, images, _square, quiet=True)
        norms = []
        x = images
        for layer in net[:20]:
            x = layer(x)
            if isinstance(layer, nn.Conv2d):
                x.retain_grad()
                norms.append(x)
        (x * torch.randn_like(x)).sum().backward()
        assert abs(math.log10(norms[0].grad.norm() / norms[-1].grad.norm())) < 1


def test_a_batch_norm_that_ends_a_branch_gets_its_share_of_the_stream() -> None:
    net = _residual_net()
    done = hw.critical_(net, torch.randn(8, 3, 8, 8), quiet=True)
    assert done["1.end.weight"].after == pytest.approx(0.5)
    assert float(net[1].end.weight.detach().mean()) == pytest.approx(0.5)
    assert "normalised afterwards" in done["1.conv.weight"].note


def test_balance_leaves_a_scale_without_effect_as_it_was_and_the_statistics_too() -> None:
    net = _residual_net()
    before = net[1].conv.weight.detach().clone()
    done = hw.balance_(net, torch.randn(8, 3, 8, 8), _square, quiet=True)
    assert torch.equal(net[1].conv.weight, before)
    assert "the loss is the same" in done["1.conv.weight"].note
    assert int(net[1].norm.num_batches_tracked) == 0
    assert done["1.end.weight"].after < 1


def test_the_same_generator_draws_the_same_network_and_leaves_the_global_stream() -> None:
    def weights(net: nn.Module) -> list[Tensor]:
        generator = torch.Generator().manual_seed(7)
        hw.critical_(net, generator=generator, quiet=True)
        return [p.detach().clone() for p in net.parameters()]

    one = weights(plain("gelu", 3, 16))
    state = torch.get_rng_state()
    net = plain("gelu", 3, 16)
    torch.set_rng_state(state)
    two = weights(net)
    assert all(map(torch.equal, one, two))
    assert torch.equal(torch.get_rng_state(), state)


def test_parameters_stay_the_same_objects_without_gradients() -> None:
    net = plain("relu", 3, 16)
    before = list(net.parameters())
    x = torch.randn(8, 32)
    hw.critical_(net, x, quiet=True)
    hw.balance_(net, x, _square, quiet=True)
    assert all(a is b for a, b in zip(before, net.parameters(), strict=True))
    assert all(p.grad is None and p.requires_grad for p in net.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_formats_are_kept(dtype: torch.dtype) -> None:
    net = plain("relu", 5, 64).to(dtype)
    x = torch.randn(32, 32, dtype=dtype)
    done = hw.critical_(net, x, quiet=True)
    assert done["2.weight"].after == pytest.approx(2**0.5, rel=0.05)
    hw.balance_(net, x, _square, quiet=True)
    assert {p.dtype for p in net.parameters()} == {dtype}
    assert abs(log10_ratio(net, x)) < 0.5


def test_frozen_weights_are_left_alone_unless_asked() -> None:
    net = plain("relu", 4, 32)
    net[2].requires_grad_(False)
    before = net[2].weight.clone()
    done = hw.critical_(net, quiet=True)
    hw.balance_(net, torch.randn(8, 32), _square, quiet=True)
    assert torch.equal(net[2].weight, before)
    assert "frozen" in done["2.weight"].note
    hw.critical_(net, frozen=True, quiet=True)
    assert not torch.equal(net[2].weight, before)
    assert not net[2].weight.requires_grad


def test_a_table_of_eighty_columns_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    hw.critical_(plain("sigmoid", 3, 16))
    printed = capsys.readouterr().out
    assert "2.weight" in printed
    assert "rows centred" in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_an_exploding_start_is_balanced_and_one_of_zeros_is_left() -> None:
    net = plain("relu", 40, 32)
    with torch.no_grad():
        for layer in net[::2]:
            layer.weight.normal_(std=20)
    x = torch.randn(16, 32)
    hw.balance_(net, x, _square, quiet=True)
    assert abs(log10_ratio(net, x)) < 1
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    done = hw.balance_(net, x, _square, quiet=True)
    assert "Nothing was scaled" in str(done)


def test_weights_that_meet_in_a_product_are_left_and_named_by_theory() -> None:
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.gate, self.value = (nn.Linear(16, 16) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            h = self.first(x)
            return torch.sigmoid(self.gate(h)) * self.value(h)

    net = Gate()
    before = net.gate.weight.detach().clone()
    done = hw.critical_(net, quiet=True)
    assert torch.equal(net.gate.weight, before)
    assert "meets another in mul" in done["gate.weight"].note


def test_biases_are_drawn_along_the_critical_line() -> None:
    net = plain("tanh", 3, 256)
    done = hw.critical_(net, bias_variance=0.05, quiet=True)
    assert done["2.weight"].after ** 2 == pytest.approx(1.761, rel=0.03)  # as `headwater theory`
    assert float(net[2].bias.detach().square().mean()) == pytest.approx(0.05, rel=0.4)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: hw.critical_(nn.ReLU(), torch.ones(2, 2, requires_grad=True)), "without weights"),
        (lambda: hw.critical_(nn.Linear(3, 3), torch.ones(2, 4)), "shape \\(2, 4\\)"),
        (lambda: hw.balance_(nn.Linear(3, 3), torch.ones(2, 3), lambda y: y), "returns a scalar"),
        (lambda: hw.critical_(nn.Linear(3, 3), variance=-1.0), "a number above 0"),
        (lambda: hw.balance_(nn.Linear(3, 3), torch.ones(2, 3), sweeps=0), "from 1 on"),
        (
            lambda: hw.balance_(nn.Linear(3, 3), torch.full((2, 3), math.nan), _square),
            "not finite",
        ),
    ],
)
def test_bad_input_is_told(call: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        call()
