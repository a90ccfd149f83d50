"""The catalogue's activations on sixteen lanes: value and derivative together.

One compiled function holds them all and branches on a number: the branch costs a cycle for
sixteen members, and one compilation serves every activation. Derivatives follow torch's autograd,
also at kinks and where they round to 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from headwater.lab.compiler import compiled
from headwater.lab.elementary import cos, erf, exp, expm1, log1p, sin
from headwater.lab.lanes import if_greater, size, splat, unless_at_most
from headwater.lab.network import Network
from headwater.theory.catalogue import parse_activation
from headwater.theory.gated import QUICK_RATE, TANH_CUBE, TANH_RATE
from headwater.theory.rectifying import SELU_ALPHA, SELU_SCALE
from headwater.theory.saturating import LECUN_HEIGHT, LECUN_RATE

IDENTITY, RELU, RECTIFIER, RELU2, HARDSWISH = range(5)
RELU6, HARDTANH, HARDSIGMOID = range(5, 8)
SIGMOID, SCALED_TANH, ERF, SOFTSIGN, ELU, SIN = range(8, 14)
GELU, GELU_TANH, SWISH, MISH = range(14, 18)
SOFTPLUS, LOGSIGMOID, TANHSHRINK = range(18, 21)

Code = tuple[int, tuple[float, ...]]
"""A branch, and up to three numbers that it needs."""

CODES: Mapping[str, Callable[..., Code]] = {
    "identity": lambda: (IDENTITY, ()),
    "sigmoid": lambda: (SIGMOID, ()),
    "tanh": lambda: (SCALED_TANH, (1.0, 1.0)),
    "lecun_tanh": lambda: (SCALED_TANH, (LECUN_HEIGHT, LECUN_RATE)),
    "erf": lambda rate=1.0: (ERF, (rate,)),
    "erf_unit": lambda: (ERF, (math.sqrt(math.pi) / 2,)),
    "softsign": lambda: (SOFTSIGN, ()),
    "hardtanh": lambda: (HARDTANH, ()),
    "hardsigmoid": lambda: (HARDSIGMOID, ()),
    "relu": lambda: (RELU, ()),
    "leaky_relu": lambda slope=0.01: (RECTIFIER, (slope,)),
    "prelu": lambda slope=0.25: (RECTIFIER, (slope,)),
    "rrelu": lambda _mode="train", lower=1 / 8, upper=1 / 3: (
        RECTIFIER,
        ((lower + upper) / 2, lower, upper),
    ),
    "relu6": lambda: (RELU6, ()),
    "relu2": lambda: (RELU2, ()),
    "elu": lambda alpha=1.0: (ELU, (1.0, alpha, 1.0)),
    "selu": lambda: (ELU, (SELU_SCALE, SELU_ALPHA, 1.0)),
    "celu": lambda alpha=1.0: (ELU, (1.0, alpha, alpha)),
    "gelu": lambda: (GELU, ()),
    "gelu_tanh": lambda: (GELU_TANH, ()),
    "quick_gelu": lambda: (SWISH, (QUICK_RATE,)),
    "silu": lambda rate=1.0: (SWISH, (rate,)),
    "mish": lambda: (MISH, ()),
    "hardswish": lambda: (HARDSWISH, ()),
    "softplus": lambda: (SOFTPLUS, ()),
    "logsigmoid": lambda: (LOGSIGMOID, ()),
    "tanhshrink": lambda: (TANHSHRINK, ()),
    "sin": lambda: (SIN, ()),
}


def code_of(network: Network) -> tuple[int, tuple[float, float, float]]:
    """Return the branch of a network's activation, and its numbers ``[3]``.

    Of RReLU they are the mean, the least and the largest slope.

    Example:
        >>> code_of(Network(widths=(2, 5, 1), activation="leaky_relu(0.1)"))
        (2, (0.1, 0.0, 0.0))
    """
    word, parts = parse_activation(network.activation)
    given = [
        part if part in {"train", "eval"} else float(part.partition("=")[2] or part)
        for part in parts
    ]
    kind, values = CODES[word](*given)
    first, second, third = [*values, 0.0, 0.0, 0.0][:3]
    return kind, (float(first), float(second), float(third))


@compiled
def sigmoid(z: Any) -> Any:
    """Return 1 / (1 + exp(-z))."""
    return 1.0 / (1.0 + exp(-z))


@compiled
def tanh(z: Any) -> Any:
    """Return the hyperbolic tangent, from exp(-2 |z|) - 1, so that nothing cancels near 0."""
    below = expm1(-2.0 * size(z))
    value = -below / (below + 2.0)
    return if_greater(0.0, z, -value, value)


@compiled
def softplus(z: Any) -> Any:
    """Return log(1 + exp(z))."""
    return unless_at_most(z, 0.0, z, 0.0) + log1p(exp(-size(z)))


@compiled
def activate(kind: int, values: Any, slope: Any, z: Any) -> Any:
    """Return phi(z) and phi'(z); ``slope`` is the left arm's if it is a rectifier."""
    if kind <= HARDSWISH:
        return _rectified(kind, slope, z)
    if kind <= HARDSIGMOID:
        return _cut(kind, z)
    if kind <= SIN:
        return _bent(kind, values, z)
    if kind <= MISH:
        return _gated(kind, values, z)
    return _grown(kind, z)


@compiled
def _rectified(kind: int, slope: Any, z: Any) -> Any:
    one, zero = splat(1.0, z), splat(0.0, z)
    if kind == IDENTITY:
        return z, one
    if kind == RELU:
        return unless_at_most(z, 0.0, z, 0.0), unless_at_most(z, 0.0, one, zero)
    if kind == RECTIFIER:
        return if_greater(z, 0.0, z, slope * z), if_greater(z, 0.0, one, slope)
    if kind == RELU2:
        positive = unless_at_most(z, 0.0, z, 0.0)
        return positive * positive, 2.0 * positive
    gate = _clipped(z + 3.0, 0.0, 6.0) / 6.0
    middle = if_greater(3.0, z, (2.0 * z + 3.0) / 6.0, one)
    return z * gate, unless_at_most(z, -3.0, middle, zero)


@compiled
def _cut(kind: int, z: Any) -> Any:
    one, zero = splat(1.0, z), splat(0.0, z)
    low, high = -1.0, 1.0
    if kind == RELU6:
        low, high = 0.0, 6.0
    if kind == HARDSIGMOID:
        low, high = -3.0, 3.0
    inside = unless_at_most(z, low, if_greater(high, z, one, zero), zero)
    clipped = _clipped(z, low, high)
    if kind == HARDSIGMOID:
        return (clipped + 3.0) / 6.0, inside / 6.0
    return clipped, inside


@compiled
def _clipped(z: Any, low: float, high: float) -> Any:
    return if_greater(z, high, splat(high, z), if_greater(low, z, splat(low, z), z))


@compiled
def _bent(kind: int, values: Any, z: Any) -> Any:
    if kind == SIGMOID:
        share = sigmoid(z)
        return share, share * (1.0 - share)
    if kind == SCALED_TANH:
        value = tanh(values[1] * z)
        return values[0] * value, (values[0] * values[1]) * (1.0 - value * value)
    if kind == ERF:
        inner = values[0] * z
        height = 2.0 / math.sqrt(math.pi) * values[0]
        return erf(inner), height * exp(-inner * inner)
    if kind == SOFTSIGN:
        below = 1.0 + size(z)
        return z / below, 1.0 / (below * below)
    if kind == ELU:
        inner = if_greater(z, 0.0, splat(0.0, z), z / values[2])
        left, rise = values[0] * values[1], values[0] * values[1] / values[2]
        value = if_greater(z, 0.0, values[0] * z, left * expm1(inner))
        return value, if_greater(z, 0.0, splat(values[0], z), rise * exp(inner))
    return sin(z), cos(z)


@compiled
def _gated(kind: int, values: Any, z: Any) -> Any:
    if kind == GELU:
        share = 0.5 + 0.5 * erf(math.sqrt(0.5) * z)
        return z * share, share + z * (1.0 / math.sqrt(2.0 * math.pi)) * exp(-0.5 * z * z)
    if kind == GELU_TANH:
        square = z * z
        bend = tanh(TANH_RATE * z * (1.0 + TANH_CUBE * square))
        share = 0.5 + 0.5 * bend
        rate = TANH_RATE * (1.0 + 3.0 * TANH_CUBE * square)
        return z * share, share + 0.5 * z * (1.0 - bend * bend) * rate
    if kind == SWISH:
        share = sigmoid(values[0] * z)
        return z * share, share * (1.0 + values[0] * z * (1.0 - share))
    # tanh(log(1 + e)) = n / (n + 2) with n = e (e + 2); from 20 on it is 1 in any format.
    e = exp(if_greater(z, 20.0, splat(20.0, z), z))
    n = e * (e + 2.0)
    bend = n / (n + 2.0)
    flat = 4.0 * (n + 1.0) / ((n + 2.0) * (n + 2.0))
    return z * bend, bend + z * (e / (1.0 + e)) * flat


@compiled
def _grown(kind: int, z: Any) -> Any:
    if kind == SOFTPLUS:
        return softplus(z), sigmoid(z)
    if kind == LOGSIGMOID:
        return -softplus(-z), sigmoid(-z)
    bend = tanh(z)
    return z - bend, bend * bend
