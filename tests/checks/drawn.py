"""Plain networks of one activation, drawn with a gain, for checks to be held against."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headwater.checks.factories import drawn
from headwater.checks.feeds import feed
from headwater.checks.forecasts import forecast
from headwater.checks.readings import Reading, read
from headwater.theory.catalogue import find_activation

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "selu": F.selu,
    "gelu": F.gelu,
}


class Plain(nn.Module):
    """``depth`` dense layers, an activation between each two."""

    def __init__(self, name: str, sigma_w: float, sigma_b: float, width: int, depth: int) -> None:
        super().__init__()
        self.function = FUNCTIONS[find_activation(name).name]
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        for layer in self.layers:
            assert isinstance(layer, nn.Linear)
            nn.init.normal_(layer.weight, std=sigma_w / math.sqrt(width))
            nn.init.normal_(layer.bias, std=sigma_b)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers[0](x)
        for layer in self.layers[1:]:
            x = layer(self.function(x))
        return x


def readings(factory: Callable[[], nn.Module], draws: int, samples: int = 16) -> list[Reading]:
    found = []
    for seed in range(draws):
        network, _ = drawn(factory, seed)
        torch.manual_seed(1000 + seed)
        width = next(network.parameters()).shape[1]
        found.append(read(network, feed(network, torch.randn(samples, width))))
    return found


def share_within(found: Sequence[Reading]) -> float:
    """Share of draws whose gradient, from the last layer to the first, lies in the band."""
    first = forecast(found)[0]
    assert first.band is not None
    assert first.until == len(found[0].stages) - 1
    passed = [r.level(r.stages[0].node) - r.level(r.stages[-1].node) for r in found]
    return sum(value in first.band for value in passed) / len(passed)
