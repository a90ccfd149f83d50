"""The gain that weights have, and the one that they should have for the activation before them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import fmean

from headwater.errors import DivergentIntegralError, NotCoveredError
from headwater.records import CriticalGain
from headwater.theory.catalogue import find_activation
from headwater.theory.correlation import settle_correlation
from headwater.theory.criticality import near_half_stable
from headwater.theory.initialisation import gain
from headwater.theory.layers import (
    Activate,
    BatchNorm,
    Convolution,
    Dense,
    Dropout,
    Layer,
    LayerNorm,
    Residual,
    RMSNorm,
    Scale,
)
from headwater.theory.meanfield import settle

TRAINABLE = 6.0
"""Depth over the depth scale up to which networks train, by experiment: Schoenholz et al. (2017),
arXiv:1611.01232."""


_WITHOUT_LIMIT = 10_000.0
"""A depth beyond which no limit is told: chance in the draw of the weights decides it."""


_DEEPER = (BatchNorm, LayerNorm, RMSNorm, Residual)


@dataclass(slots=True)
class _Group:
    weights: list[float] = field(default_factory=list)
    biases: list[float] = field(default_factory=list)


def critical_gains(layers: Sequence[Layer]) -> tuple[CriticalGain, ...]:
    """Return for each activation the gain of the weights that read it, and the critical one.

    Example:
        >>> stack = (Dense(weight_variance=1.0), Activate(activation="relu")) * 3
        >>> found = critical_gains((*stack, Dense(weight_variance=1.0)))[0]
        >>> found.sigma_w, round(found.critical, 4), found.layers
        (1.0, 1.4142, 3)
    """
    groups: dict[str, _Group] = {}
    for activation, weights in _pairs(layers):
        name = str(getattr(activation.activation, "name", activation.activation))
        group = groups.setdefault(name, _Group())
        group.weights.append(weights.weight_variance)
        group.biases.append(weights.bias_variance)
    plain = not any(isinstance(layer, _DEEPER) for layer in layers)
    return tuple(_gain(name, group, plain) for name, group in groups.items())


def _pairs(layers: Sequence[Layer]) -> Iterator[tuple[Activate, Dense | Convolution]]:
    """Yield each activation with the weights that read it."""
    last: Activate | None = None
    for layer in layers:
        if isinstance(layer, Residual):
            yield from _pairs(layer.branch)
            yield from _pairs(layer.skip)
        if isinstance(layer, Activate):
            last = layer
        elif isinstance(layer, Dense | Convolution) and last is not None:
            yield last, layer
            last = None
        elif not isinstance(layer, Dropout | Scale):
            last = None


def _gain(name: str, group: _Group, plain: bool) -> CriticalGain:
    weight, bias = fmean(group.weights), fmean(group.biases)
    try:
        critical: float | None = gain(name)
    except NotCoveredError:
        critical = None
    return CriticalGain(
        activation=find_activation(name).name,
        layers=len(group.weights),
        sigma_w=math.sqrt(weight),
        critical=critical,
        depth=_trainable_depth(name, weight, bias) if plain else None,
        plain=plain,
        low_confidence=near_half_stable(name, weight, bias),
    )


def _trainable_depth(name: str, weight: float, bias: float) -> float | None:
    """Return how deep such a network trains, None where nothing limits it."""
    point = settle(name, weight, bias)
    scales = [point.gradient_depth]
    if math.isfinite(point.variance) and point.variance > 0:
        with suppress(NotCoveredError, DivergentIntegralError):
            scales.append(settle_correlation(name, weight, bias).depth)
    depth = TRAINABLE * min(scales)
    return depth if depth < _WITHOUT_LIMIT else None
