"""Forecasts against networks drawn at random: means within their standard errors, and bands.

A network's own gradient is measured in float64 for one input and a random vector at its end. The
logarithm's mean over draws must lie within four standard errors of the forecast, plus the orders
that the forecast leaves out: depth times a few over the width squared, and more where forecasts
are said to be weak. The bands must hold their share of single draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from simulations import torch_function
from torch import Tensor
from torch.nn import functional

from headwater.theory.calculus import forecast
from headwater.theory.catalogue import find_activation
from headwater.theory.criticality import critical_point, near_half_stable
from headwater.theory.fluctuation import Band
from headwater.theory.gaussian import Array
from headwater.theory.initialisation import gain
from headwater.theory.layers import (
    Activate,
    BatchNorm,
    Convolution,
    Dense,
    Layer,
    LayerNorm,
    Residual,
)
from headwater.theory.sampling import sampled_bands

DEPTH = 50
ACTIVATIONS = (
    "relu",
    "leaky_relu(0.2)",
    "tanh",
    "sigmoid",
    "selu",
    "elu",
    "gelu",
    "hardtanh",
    "erf",
)
SCHEMES: dict[str, Callable[[str], float]] = {
    "glorot": lambda _name: 1.0,
    "gradient gain": lambda name: gain(name) ** 2,
    "critical": lambda name: min(critical_point(name).weight_variance, 110.0),
}
DRAWS = {64: 60, 256: 30, 1024: 5}


@dataclass(frozen=True)
class Plain:
    """A plain network's gradient from the last pre-activations to the first, in decades."""

    name: str
    weight: float
    width: int

    def draw(self, seed: int) -> float:
        generator = np.random.default_rng(seed)
        phi = find_activation(self.name)
        scale = np.float32(math.sqrt(self.weight / self.width))
        h = self._weights(generator, scale) @ generator.normal(size=self.width)
        passed = []
        for _ in range(DEPTH - 1):
            weights = self._weights(generator, scale)
            passed.append((weights, phi.derivative(h)))
            h = weights @ phi.function(h)
        start = gradient = generator.normal(size=self.width)
        for weights, slope in reversed(passed):
            gradient = slope * (weights.T @ gradient)
        return math.log10(np.linalg.norm(gradient) / np.linalg.norm(start))

    def _weights(self, generator: np.random.Generator, scale: np.float32) -> Array:
        shape = (self.width, self.width)
        return scale * generator.standard_normal(shape, dtype=np.float32)  # type: ignore[return-value]

    @property
    def layers(self) -> tuple[Layer, ...]:
        dense = Dense(weight_variance=self.weight, width=self.width)
        activate = Activate(activation=self.name, width=self.width)
        return (dense, *(activate, dense) * (DEPTH - 1))

    def forecast(self) -> Band:
        band = forecast(self.layers)[1].gradient
        assert band is not None
        return band


@pytest.mark.slow
@pytest.mark.parametrize("width", DRAWS)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_drawn_networks_gradient_is_as_forecast(name: str, scheme: str, width: int) -> None:
    network = Plain(name, SCHEMES[scheme](name), width)
    band = network.forecast()
    logs = np.array([network.draw(seed) for seed in range(DRAWS[width])])
    error = max(float(logs.std(ddof=1)), band.deviation) / math.sqrt(logs.size)
    # The variance of the logarithm over 50 layers sets the scale of the next order.
    beyond = 3 * band.deviation**2 * math.log(10) + 0.02
    if near_half_stable(name, network.weight, 0.0) or critical_point(name).variance == 0:
        beyond += 0.5 * abs(band.mean) + 8 * band.deviation
    assert abs(float(logs.mean()) - band.mean) <= 4 * error + beyond


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "weight"),
    [
        ("relu", 2.0),
        ("tanh", 25 / 9),
        ("tanh", 1.5),
        ("sigmoid", 1.0),
        ("selu", 1.0),
        ("gelu", None),
    ],
)
def test_the_sampled_band_holds_nineteen_draws_of_twenty(name: str, weight: float | None) -> None:
    network = Plain(name, weight or gain(name) ** 2, 256)
    band = sampled_bands(network.layers)[1]
    logs = [network.draw(seed) for seed in range(100, 200)]
    # Of 100 draws 95 are expected inside, with a deviation of 2.2.
    assert sum(value in band for value in logs) >= 89
    assert 0.7 <= float(np.std(logs)) / band.deviation <= 1.3


def block_decades(layers: tuple[Layer, ...]) -> float:
    return sum(line.decades for line in forecast(layers))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["relu", "tanh", "gelu"])
def test_batch_norm_by_torch(name: str) -> None:
    block = (Dense(weight_variance=1.0), BatchNorm(), Activate(activation=name))
    want = block_decades(block * 12)
    assert torch_decades("batch", name, 12) == pytest.approx(want, abs=0.08)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["relu", "tanh", "gelu"])
def test_layer_norm_by_torch(name: str) -> None:
    block = (Dense(weight_variance=1.0), LayerNorm(), Activate(activation=name))
    assert torch_decades("layer", name, 20) == pytest.approx(block_decades(block * 20), abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("scale", [0.2, 1.0])
def test_residual_sums_by_torch(name: str, scale: float) -> None:
    branch = (Activate(activation=name), Dense(weight_variance=2.0))
    layers = (Dense(weight_variance=1.0), *[Residual(branch=branch, branch_scale=scale)] * 20)
    want = block_decades(layers)
    assert torch_decades("residual", name, 20, scale) == pytest.approx(want, abs=0.06)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["relu", "tanh", "gelu"])
def test_convolutions_by_torch(name: str) -> None:
    # Circular padding: without a border a convolution is its fan-in, and nothing else.
    convolution = Convolution(weight_variance=2.0)
    layers = (convolution, *(Activate(activation=name), convolution) * 10)
    got = torch_decades("convolution", name, 11)
    assert got == pytest.approx(block_decades(layers), abs=0.08)


def torch_decades(kind: str, name: str, depth: int, scale: float = 1.0) -> float:
    """Decades from a network's end to its input in torch; mean of six draws."""
    phi, logs = torch_function(name), []
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        shape = (2, 256, 6, 6) if kind == "convolution" else (256, 512)
        x = torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        y = walk(kind, x, phi, depth, scale, generator)
        gradient = torch.randn(y.shape, generator=generator, dtype=torch.float64)
        y.backward(gradient)
        assert x.grad is not None
        logs.append(math.log10(float(x.grad.norm() / gradient.norm())))
    return float(np.mean(logs))


def walk(
    kind: str,
    x: Tensor,
    phi: Callable[[Tensor], Tensor],
    depth: int,
    scale: float,
    generator: torch.Generator,
) -> Tensor:
    def linear(y: Tensor, variance: float) -> Tensor:
        weight = torch.randn(y.shape[1], y.shape[1], generator=generator, dtype=torch.float64)
        return y @ weight.T * math.sqrt(variance / y.shape[1])

    def convolve(y: Tensor) -> Tensor:
        shape = (y.shape[1], y.shape[1], 3, 3)
        weight = torch.randn(shape, generator=generator, dtype=torch.float64)
        padded = functional.pad(y, (1, 1, 1, 1), mode="circular")
        return functional.conv2d(padded, weight * math.sqrt(2.0 / (9 * y.shape[1])))

    if kind == "residual":
        x = linear(x, 1.0)
    for layer in range(depth):
        if kind == "convolution":
            x = convolve(phi(x) if layer else x)
        elif kind == "residual":
            x = x + scale * linear(phi(x), 2.0)
        elif kind == "batch":
            x = phi(functional.batch_norm(linear(x, 1.0), None, None, training=True))
        else:
            x = phi(functional.layer_norm(linear(x, 1.0), x.shape[1:]))
    return x
