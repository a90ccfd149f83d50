r"""What depth does to two different inputs: the correlation map and its fixed point.

Two inputs with pre-activations of variance q and correlation c have in the next layer the
correlation :math:`C(c) = (\sigma_w^2 E[\phi(u)\phi(v)] + \sigma_b^2) / q'`. Where C runs to 1 all
inputs look alike (ordered); where 1 is unstable, near ones are torn apart (chaotic). C is a power
series with coefficients of one sign, so convex: apart from 1 there is at most one fixed point on
[0, 1], and it exists exactly if :math:`C'(1) = \chi_1 > 1`.

Source: Poole et al. (2016), arXiv:1606.05340; Cho and Saul (2009) for ReLU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq

from headwater.theory.activations import Activation, moment
from headwater.theory.catalogue import find_activation
from headwater.theory.gaussian import NODES, WEIGHTS, Array, Function, panel_edges
from headwater.theory.meanfield import EVEN, FixedPoint, depth_scale, settle, variance_map

INNER_REACH = 9.0  # standard deviations of the second variable given the first: mass 1e-19 beyond
NEAR_ONE = 1e-13  # of 1 - |c|: nearer, the two variables are one


def product_mean(
    function: Function,
    variance: float,
    correlation: float,
    kinks: tuple[float, ...] = (),
    scale: float = 1.0,
) -> float:
    r"""Mean of ``f(u) f(v)`` for Gaussians of one variance and a given correlation.

    The inner integral has its own panels at every outer point, so that kinks of the second
    variable stand on edges too; the outer panels narrow where a kink of the inner one shines
    through, blurred to the width :math:`\sqrt{1 - c^2}`.

    Example:
        >>> relu = lambda x: np.maximum(x, 0.0)
        >>> round(2 * product_mean(relu, 1.0, 0.0, (0.0,)), 12)  # 1 / pi
        0.318309886184
    """
    deviation = math.sqrt(max(variance, 1e-40))
    inner = deviation * math.sqrt(max((1 - correlation) * (1 + correlation), NEAR_ONE))
    shine = tuple(
        kink / correlation + inner * step
        for kink in kinks
        if abs(correlation) > 1e-3
        for step in (-8.0, -4.0, -2.0, -1.0, 1.0, 2.0, 4.0, 8.0)
    )
    edges = panel_edges(deviation, kinks, scale)
    edges = np.unique(np.concatenate([edges[np.abs(edges) <= 13 * deviation], shine]))
    half = np.diff(edges)[:, None] / 2
    u = (edges[:-1, None] + half * (1 + NODES)).ravel()
    weights = (half * WEIGHTS).ravel() * np.exp(-0.5 * (u / deviation) ** 2)
    means = _conditional_means(function, u * correlation, inner, kinks, scale)
    total = weights @ (function(u) * means)
    return float(total) / (deviation * math.sqrt(2 * math.pi))


def correlation_map(
    activation: str | Activation,
    correlation: float,
    variance: float,
    weight_variance: float,
    bias_variance: float = 0.0,
) -> float:
    """Correlation of two inputs one layer on, of the same variance before.

    Example:
        >>> round(correlation_map("relu", 0.5, 1.0, 2.0), 12)
        0.608997781044
    """
    phi = find_activation(activation)
    if not abs(correlation) <= 1:
        raise ValueError(f"correlation must lie within [-1, 1], got {correlation!r}")
    after = variance_map(phi, variance, weight_variance, bias_variance)
    if correlation > 1 - NEAR_ONE:
        return 1.0
    mean = mean_of_product(phi, variance, correlation)
    return (weight_variance * mean + bias_variance) / after


def correlation_slope(
    activation: str | Activation, correlation: float, variance: float, weight_variance: float
) -> float:
    r"""Slope of the correlation map at a fixed point of the variance.

    :math:`\chi_c = \sigma_w^2 E[\phi'(u) \phi'(v)]`; at correlation 1 it is :math:`\chi_1`.

    Source: Schoenholz et al. (2017), arXiv:1611.01232.

    Example:
        >>> round(correlation_slope("relu", 0.0, 1.0, 2.0), 12)
        0.5
    """
    phi = find_activation(activation)
    if correlation > 1 - NEAR_ONE:
        return weight_variance * moment(phi, "slope2", variance)
    mean = product_mean(phi.derivative, variance, correlation, phi.kinks, phi.scale)
    return weight_variance * mean


@dataclass(frozen=True, kw_only=True)
class CorrelationPoint:
    """Where the correlation of two inputs settles: c*, the map's slope, the depth scale."""

    correlation: float
    slope: float

    @property
    def depth(self) -> float:
        """Layers over which the distance to c* changes e-fold."""
        return depth_scale(self.slope)


def settle_correlation(
    activation: str | Activation, weight_variance: float, bias_variance: float = 0.0
) -> CorrelationPoint:
    r"""Stable fixed point of the correlation map, at the variance's own fixed point.

    Raises:
        ValueError: The variance runs to infinity, so there is no map to speak of.

    Example:
        >>> settle_correlation("tanh", 1.0, 0.05).correlation  # ordered: inputs become one
        1.0
        >>> settle_correlation("tanh", 2.0).correlation  # chaotic, without bias: orthogonal
        0.0
    """
    phi = find_activation(activation)
    point = settle(phi, weight_variance, bias_variance)
    if math.isinf(point.variance):
        raise ValueError(f"the variance of {phi.name} runs to infinity; take smaller weights")
    return _settled_correlation(phi, weight_variance, bias_variance, point)


@lru_cache(maxsize=65536)
def mean_of_product(activation: Activation, variance: float, correlation: float) -> float:
    """Mean of phi(u) phi(v), remembered: deep networks ask for the same values again.

    Example:
        >>> round(mean_of_product(find_activation("erf"), 1.0, 0.0), 12) + 0.0
        0.0
    """
    if activation.homogeneous and len(activation.kinks) <= 1:
        return _straight_arms(activation, variance, correlation)
    if correlation > 1 - NEAR_ONE:
        return moment(activation, "square", variance)
    if correlation == 0:
        return moment(activation, "mean", variance) ** 2
    return product_mean(
        activation.function, variance, correlation, activation.kinks, activation.scale
    )


@lru_cache(maxsize=4096)
def _settled_correlation(
    activation: Activation, weight_variance: float, bias_variance: float, point: FixedPoint
) -> CorrelationPoint:
    q = max(point.variance, 1e-40)

    def excess(c: float) -> float:
        return (weight_variance * mean_of_product(activation, q, c) + bias_variance) / q - c

    if point.chi_1 <= 1 + EVEN or point.fate == "any":
        return CorrelationPoint(correlation=1.0, slope=point.chi_1)
    if abs(excess(0.0)) < EVEN:
        root = 0.0
    else:
        # Beyond 1 - 1e-9 the two inputs are one for every purpose, and the difference is noise.
        top = 1 - 1e-9
        root = float(brentq(excess, 0.0, top, xtol=1e-13)) if excess(top) < 0 else 1.0
    return CorrelationPoint(
        correlation=root, slope=correlation_slope(activation, root, q, weight_variance)
    )


def _straight_arms(activation: Activation, variance: float, correlation: float) -> float:
    """Arc-cosine kernel of a x + b |x|, the form of every leaky rectifier (Cho and Saul 2009)."""
    rise, fall = activation.function(np.array([1.0, -1.0]))
    odd, even = (rise - fall) / 2, (rise + fall) / 2
    c = min(max(correlation, -1.0), 1.0)
    folded = 2 / math.pi * (math.sqrt((1 - c) * (1 + c)) + c * math.asin(c))  # E|u||v| / q
    spread = moment(activation, "square", variance) / variance - (odd**2 + even**2)
    # A random slope adds its spread only where both see the same draw, which two inputs do not.
    return float(variance * (odd**2 * c + even**2 * folded + (spread if c == 1 else 0.0)))


def _conditional_means(
    function: Function, centres: Array, deviation: float, kinks: tuple[float, ...], scale: float
) -> Array:
    reach = INNER_REACH * deviation
    fixed = np.array(kinks)
    if deviation > scale / 2:  # else a panel is narrower than any bend
        spread = float(np.abs(centres).max()) + reach
        bends = panel_edges(spread / 38.0, kinks, scale)
        fixed = np.union1d(fixed, bends[np.abs(bends) <= spread])
    own = centres[:, None] + deviation * np.arange(-INNER_REACH, INNER_REACH + 1, 1.5)
    edges = np.concatenate([own, np.broadcast_to(fixed, (centres.size, fixed.size))], axis=1)
    low, high = (centres - reach)[:, None], (centres + reach)[:, None]
    edges = np.sort(np.clip(edges, low, high), axis=1)
    half = np.diff(edges, axis=1)[:, :, None] / 2
    points = edges[:, :-1, None] + half * (1 + NODES)
    z = (points - centres[:, None, None]) / deviation
    values = function(points.ravel()).reshape(points.shape)
    total: Array = (values * np.exp(-0.5 * z * z) * half * WEIGHTS).sum(axis=(1, 2))
    return total / (deviation * math.sqrt(2 * math.pi))
