"""The gradient at both ends of deep networks, after each initialiser."""

from __future__ import annotations

import statistics

import pytest
import torch
from deep_nets import ACTIVATIONS, log10_ratio, plain
from torch import nn

from headwater.initialisers.balance import balance_
from headwater.initialisers.critical import critical_


def _after(which: str, name: str, seed: int, depth: int, width: int) -> float:
    torch.manual_seed(seed)
    net = plain(name, depth, width)
    x, y = torch.randn(64, 32), torch.randint(10, (64,))
    if which == "critical_":
        critical_(net, quiet=True)
    else:
        balance_(net, (x, y), nn.functional.cross_entropy, quiet=True)
    return log10_ratio(net, torch.randn(64, 32))


@pytest.mark.parametrize("name", ["sigmoid", "relu", "gelu"])
@pytest.mark.parametrize("which", ["critical_", "balance_"])
def test_a_deep_network_keeps_its_gradient_within_a_decade(which: str, name: str) -> None:
    assert abs(_after(which, name, 0, depth=20, width=64)) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", list(ACTIVATIONS))
@pytest.mark.parametrize("which", ["critical_", "balance_"])
def test_fifty_layers_keep_their_gradient_in_the_median_over_seeds(which: str, name: str) -> None:
    ratios = [_after(which, name, seed, depth=50, width=256) for seed in range(20)]
    assert abs(statistics.median(ratios)) <= 1


def test_orthogonal_weights_keep_it_too() -> None:
    torch.manual_seed(0)
    net = plain("tanh", 20, 64)
    critical_(net, orthogonal=True, quiet=True)
    assert abs(log10_ratio(net, torch.randn(64, 32))) <= 0.5
    weight = net[2].weight.detach()
    square = float(weight.square().sum()) / 64
    assert torch.allclose(weight @ weight.T, square * torch.eye(64), atol=1e-4)
