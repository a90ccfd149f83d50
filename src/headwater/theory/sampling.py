r"""Bands by sampling, for networks whose variance is not stable.

The calculus follows small deviations of the mean square. Near a half-stable point, or where the
variance runs away, they do not stay small: some draws of a GELU network collapse while others
hold. Then the chain of mean squares is drawn itself, thousands of times, each layer from its
leading-order law given the one before. That costs a few numbers a layer and no matrix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from headwater.errors import NotCoveredError
from headwater.theory.activations import Activation, moment
from headwater.theory.catalogue import find_activation
from headwater.theory.fluctuation import LOG10, Band
from headwater.theory.gaussian import Array
from headwater.theory.layers import Activate, Convolution, Dense, Layer

TABLE = np.linspace(math.log(1e-12), math.log(1e12), 481)  # of ln q; 20 a decade


@dataclass(frozen=True, kw_only=True)
class Table:
    """Logarithms of an activation's moments over ln q, and its noises times the width."""

    square: Array
    slope2: Array
    gain_noise: Array
    signal_noise: Array
    common: Array

    def at(self, which: str, log_q: Array) -> Array:
        """Interpolate; beyond the ends the last value goes on."""
        values: Array = np.interp(log_q, TABLE, getattr(self, which))
        return values


def sampled_bands(
    layers: Sequence[Layer], *, mean_square: float = 1.0, draws: int = 4000, seed: int = 0
) -> list[Band]:
    """Band of the gradient at each layer's input, relative to the end, by sampled chains.

    Covers dense layers, convolutions and activations. The mean is the median of the draws.

    Args:
        layers: Descriptions, from the input on, with finite widths.
        mean_square: Of the inputs.
        draws: Number of chains.
        seed: Of the chains.

    Raises:
        NotCoveredError: There is another layer among them.

    Example:
        >>> block = (Dense(weight_variance=2.0, width=256), Activate(activation="relu", width=256))
        >>> band = sampled_bands(block * 20)[0]
        >>> -0.35 < band.low < band.mean < 0.1 < band.high < 0.35
        True
    """
    generator = np.random.default_rng(seed)
    log_square = np.full(draws, math.log(mean_square))
    steps = []
    for layer in layers:
        if isinstance(layer, Dense | Convolution):
            gain, log_square = _dense(layer, log_square, generator)
        elif isinstance(layer, Activate):
            gain, log_square = _activate(layer, log_square, generator)
        else:
            raise NotCoveredError(
                layer.name, "chains are drawn of plain networks only", "use forecast"
            )
        steps.append(gain)
    passed = np.cumsum(np.array(steps)[::-1], axis=0)[::-1] / 2 / LOG10
    return [_band(row) for row in passed]


def _band(decades: Array) -> Band:
    low, middle, high = (float(x) for x in np.percentile(decades, [2.5, 50.0, 97.5]))
    return Band(mean=middle, deviation=float(decades.std()), ends=(low, high))


def _dense(
    layer: Dense | Convolution, log_square: Array, generator: np.random.Generator
) -> tuple[Array, Array]:
    inside = layer.inside if isinstance(layer, Convolution) else 1.0
    weight = layer.weight_variance * inside
    variance = 2 / layer.width if layer.width else 0.0
    noise = math.sqrt(variance) * generator.standard_normal(log_square.size) - variance / 2
    after: Array = np.log(weight * np.exp(log_square) + layer.bias_variance)
    return math.log(weight) + noise, after


def _activate(
    layer: Activate, log_square: Array, generator: np.random.Generator
) -> tuple[Array, Array]:
    table = _table(find_activation(layer.activation))
    part = 1 / layer.width if layer.width else 0.0
    own, forward = (part * table.at(name, log_square) for name in ("gain_noise", "signal_noise"))
    common = part * table.at("common", log_square)
    first, second = generator.standard_normal((2, log_square.size))
    eta = np.sqrt(forward) * first
    slope = np.divide(common, forward, out=np.zeros_like(common), where=forward > 0)
    epsilon = slope * eta + np.sqrt(np.maximum(own - slope * common, 0.0)) * second
    gain = table.at("slope2", log_square) + epsilon - own / 2
    after = table.at("square", log_square) + eta - forward / 2
    return gain, after


@lru_cache(maxsize=64)
def _table(phi: Activation) -> Table:
    q = np.exp(TABLE)

    def over(which: str) -> Array:
        return np.array([moment(phi, which, float(x)) for x in q])  # type: ignore[arg-type]

    square, slope2 = np.maximum(over("square"), 1e-300), np.maximum(over("slope2"), 1e-300)
    return Table(
        square=np.log(square),
        slope2=np.log(slope2),
        gain_noise=3 * np.maximum(over("slope4") / slope2**2 - 1, 0.0),
        signal_noise=np.maximum(over("fourth") / square**2 - 1, 0.0),
        common=over("both") / (square * slope2) - 1,
    )
