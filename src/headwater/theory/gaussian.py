"""Expectations under a Gaussian, to machine precision, for functions with kinks.

Composite Gauss-Legendre: panel edges stand on the kinks, panels are one standard deviation wide
where the density matters, and narrow towards the places where the function bends. Gauss-Hermite
knows neither the kinks nor the function's own scale: with 100 nodes it is off by half for
E[tanh'^2] at variance 46.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from headwater.errors import DivergentIntegralError

Array = NDArray[np.float64]
Function = Callable[[Array], Array]

NODES, WEIGHTS = np.polynomial.legendre.leggauss(20)
REACH = 38.0  # standard deviations; beyond it the density is below the smallest normal float64
DENSITY_EDGES = np.concatenate([np.arange(0.0, 10.0), np.arange(10.0, REACH + 1, 4.0)])
BEND_EDGES = np.array([0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0])
MOST_NODES = 8_000_000  # of the adaptive rule: a quarter of a second, 64 MB an array
NEGLIGIBLE = 1e-13  # of the integral: what may lie at the end of the reach


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """A mean under a Gaussian, and an estimate of its absolute error.

    Example:
        >>> Expectation(value=0.5, error=1e-16).value
        0.5
    """

    value: float
    error: float


def expect(
    function: Function,
    variance: float,
    *,
    kinks: tuple[float, ...] = (),
    scale: float = 1.0,
    tolerance: float = 1e-14,
) -> Expectation:
    r"""Mean of ``function(x)`` for :math:`x \sim N(0, q)`, with an estimate of its error.

    A panel is halved until it has agreed with its halves twice running (once may be an accident,
    as for a wave whose period fits the nodes), so an unknown kink or an unknown scale costs time
    and hardly any accuracy (1e-9, where a kink hides between an edge and the node next to it).

    Args:
        function: Maps an array to an array of the same shape.
        variance: :math:`q`, at least 0; at 0 the function's value at 0 is returned.
        kinks: Where the function or its derivative jumps; found by halving where not given.
        scale: The length over which the function bends; a hint.
        tolerance: Wanted error as a share of the mean of the absolute value.

    Returns:
        The mean and the estimated absolute error of it (rounding included).

    Raises:
        DivergentIntegralError: The integrand is not finite, or does not fall off within 38
            standard deviations: the mean does not exist, or not in float64.

    Example:
        >>> expect(np.square, 4.0).value
        4.0
        >>> round(expect(lambda x: np.maximum(x, 0.0), 1.0, kinks=(0.0,)).value, 12)
        0.398942280401
    """
    deviation = _deviation(variance)
    if deviation == 0:
        return Expectation(value=float(function(np.zeros(1))[0]), error=0.0)
    edges = panel_edges(deviation, kinks, scale)
    low, high = edges[:-1], edges[1:]
    whole = _panels(function, deviation, low, high)
    calm = np.zeros(low.size, dtype=bool)
    done, error, size = 0.0, 0.0, 0.0
    goal = tolerance * float(np.abs(whole).sum())
    _refuse_divergence(whole, variance)
    while low.size:
        middle = (low + high) / 2
        left = _panels(function, deviation, low, middle)
        right = _panels(function, deviation, middle, high)
        parted = left + right
        wrong = np.abs(parted - whole)
        last = low.size * NODES.size * 2 > MOST_NODES
        # A panel of a few ulps cannot be halved any more: its error is counted and it is done.
        narrow = high - low <= 1e-14 * np.maximum(np.abs(low), np.abs(high))
        agrees = wrong <= goal / 64
        ready = (agrees & calm) | narrow | last
        done += float(parted[ready].sum())
        error += float(wrong[ready].sum())
        size += float(np.abs(parted[ready]).sum())
        more = ~ready
        low, high = (np.concatenate(pair) for pair in _halves(low, middle, high, more))
        whole = np.concatenate([left[more], right[more]])
        calm = np.concatenate([agrees[more], agrees[more]])
    return Expectation(value=done, error=error + 9e-16 * size)


def mean_over(
    function: Function, variance: float, kinks: tuple[float, ...] = (), scale: float = 1.0
) -> float:
    """Mean of ``function(x)`` for x ~ N(0, variance): ``expect`` without its refinement.

    The function must be smooth between the kinks on the given scale. This holds for every
    activation of the catalogue; the tests compare the two over sixteen decades of variance.

    Example:
        >>> round(mean_over(lambda x: np.tanh(x) ** 2, 1.0), 12)
        0.394294490398
    """
    deviation = _deviation(variance)
    if deviation == 0:
        return float(function(np.zeros(1))[0])
    points, weights = quadrature(deviation, kinks, scale)
    value = float(weights @ function(points))
    if not math.isfinite(value):
        raise DivergentIntegralError(variance)
    return value


def quadrature(
    deviation: float, kinks: tuple[float, ...] = (), scale: float = 1.0
) -> tuple[Array, Array]:
    """Points and weights that average a function over N(0, deviation^2).

    Example:
        >>> points, weights = quadrature(3.0)
        >>> abs(float(weights.sum()) - 1) < 1e-14
        True
    """
    edges = panel_edges(deviation, kinks, scale)
    half = np.diff(edges)[:, None] / 2
    points = edges[:-1, None] + half * (1 + NODES)
    return points.ravel(), (half * WEIGHTS * _density(points, deviation)).ravel()


def panel_edges(deviation: float, kinks: tuple[float, ...], scale: float) -> Array:
    """Edges at the kinks, at every standard deviation, and densely where the function bends.

    Away from a bend panels may grow in proportion to the distance: the function's complex
    singularities are then always further off than the panel is wide.

    Example:
        >>> edges = panel_edges(1.0, (0.25,), 1.0)
        >>> 0.25 in edges, float(edges[0]), float(edges[-1])
        (True, -38.0, 38.0)
    """
    reach = REACH * deviation
    doublings = max(0, math.ceil(math.log2(max(reach / (8 * scale), 1.0))))
    bend = scale * np.concatenate([BEND_EDGES, 8.0 * 2.0 ** np.arange(0.5, doublings + 0.5, 0.5)])
    centres = np.array([0.0, *kinks])
    around = (centres[:, None] + np.concatenate([-bend, [0.0], bend])).ravel()
    gauss = deviation * DENSITY_EDGES
    edges: Array = np.unique(np.concatenate([-gauss, gauss, around]))
    return edges[np.abs(edges) <= reach]


def normal_tail(x: float) -> float:
    """Probability that a standard normal variable exceeds ``x``.

    Example:
        >>> normal_tail(0.0)
        0.5
    """
    return float(ndtr(-x))


def _deviation(variance: float) -> float:
    if not (0 <= variance < math.inf):
        raise ValueError(f"variance must be finite and at least 0, got {variance!r}")
    return math.sqrt(variance)


def _density(points: Array, deviation: float) -> Array:
    scaled: Array = points / deviation
    return np.exp(-0.5 * scaled * scaled) / (deviation * math.sqrt(2 * math.pi))


def _panels(function: Function, deviation: float, low: Array, high: Array) -> Array:
    half = (high - low)[:, None] / 2
    points = low[:, None] + half * (1 + NODES)
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.asarray(function(points.ravel()), dtype=float).reshape(points.shape)
        totals: Array = (values * _density(points, deviation)) @ WEIGHTS * half[:, 0]
    return totals


def _halves(low: Array, middle: Array, high: Array, more: NDArray[np.bool_]) -> list[list[Array]]:
    return [[low[more], middle[more]], [middle[more], high[more]]]


def _refuse_divergence(whole: Array, variance: float) -> None:
    total = float(np.abs(whole).sum())
    ends = max(abs(float(whole[0])), abs(float(whole[-1])))
    if not math.isfinite(total) or ends > NEGLIGIBLE * total:
        raise DivergentIntegralError(variance)
