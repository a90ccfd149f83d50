r"""Where gradients neither vanish nor explode: the critical line, and its half-stable points.

The line is drawn by its variance: :math:`\sigma_w^2(q) = 1 / E[\phi'^2]` puts :math:`\chi_1` at 1
and :math:`\sigma_b^2(q) = q - \sigma_w^2(q) E[\phi^2]` makes q a fixed point. Every critical
network of an activation is a point of it.

Source: Schoenholz et al. (2017), arXiv:1611.01232; Hayou et al. (2019), arXiv:1902.06853; Roberts,
Yaida and Hanin (2021), arXiv:2106.10165, section 5.3.4, for half-stable points.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq

from headwater.errors import NotCoveredError
from headwater.theory.activations import Activation, moment
from headwater.theory.catalogue import find_activation
from headwater.theory.meanfield import EVEN, ROOT, chi_parallel

GRID = np.geomspace(1e-8, 1e8, 641)  # 40 a decade: roots nearer than 6 % are one
NOISE = 1e-9  # relative; differences below it are quadrature's


@dataclass(frozen=True, kw_only=True)
class CriticalPoint:
    r"""An initialisation with :math:`\chi_1 = 1` at a fixed point of the variance.

    Attributes:
        variance: :math:`q^*`; 0 where the point is the origin.
        weight_variance: :math:`\sigma_w^2`.
        bias_variance: :math:`\sigma_b^2`.
        chi_parallel: Slope of the variance map: below 1 the variance comes back, above 1 it runs
            away, at 1 it drifts.
        stable: Whether it does not run away from here; at the origin, from a little above it.

    Example:
        >>> critical_point("tanh").weight_variance
        1.0
    """

    variance: float
    weight_variance: float
    bias_variance: float
    chi_parallel: float
    stable: bool


def critical_line(activation: str | Activation, variance: float) -> CriticalPoint:
    r"""Critical initialisation whose fixed point is a given variance.

    The bias variance that comes out may be negative: there is no such network then.

    Raises:
        NotCoveredError: The derivative vanishes in the mean square there.

    Example:
        >>> point = critical_line("erf", 1.0)  # pi sqrt(1 + 4q) / 4
        >>> round(point.weight_variance, 9)
        1.756203683
    """
    phi = find_activation(activation)
    slope2 = moment(phi, "slope2", variance)
    if not slope2 > 1e-300:
        raise NotCoveredError(
            f"{phi.name} at variance {variance:g}",
            "its derivative is 0 there, no weights make the gradient pass",
            "take another variance or activation",
        )
    weight = 1 / slope2
    bias = variance - weight * moment(phi, "square", variance)
    nearby = max(variance, 1e-3)  # at the origin the slope is 1 for all, and only tells nearby
    return CriticalPoint(
        variance=variance,
        weight_variance=weight,
        bias_variance=bias,
        chi_parallel=chi_parallel(phi, variance, weight),
        stable=chi_parallel(phi, nearby, weight) <= 1 + NOISE,
    )


@lru_cache(maxsize=1024)
def critical_points(
    activation: str | Activation, bias_variance: float = 0.0
) -> tuple[CriticalPoint, ...]:
    r"""All critical initialisations with a given bias variance, by rising variance.

    With bias 0 the origin counts where the activation vanishes there and its derivative does
    not; for a homogeneous one every variance is a fixed point and 1 is named.

    Example:
        >>> [round(point.weight_variance, 6) for point in critical_points("tanh", 0.05)]
        [1.760955]
        >>> critical_points("relu")[0].weight_variance
        2.0
    """
    phi = find_activation(activation)
    if bias_variance < 0:
        raise ValueError(f"bias_variance must be at least 0, got {bias_variance!r}")
    if phi.homogeneous:
        return (critical_line(phi, 1.0),) if bias_variance == 0 else ()
    points = []
    if bias_variance == 0 and _passes_origin(phi):
        points.append(critical_line(phi, 0.0))

    def miss(q: float) -> float:
        return (critical_line(phi, q).bias_variance - bias_variance) / q

    points += [critical_line(phi, q) for q in _roots(miss)]
    return tuple(points)


def critical_point(
    activation: str | Activation, bias_variance: float = 0.0, near: float = 1.0
) -> CriticalPoint:
    """Return the critical initialisation whose variance is nearest to a wanted one (in ratio).

    Points that hold their variance come before points that lose it.

    Raises:
        NotCoveredError: There is none.

    Example:
        >>> round(critical_point("sigmoid").weight_variance, 4)  # and q* = 45.6
        103.0076
    """
    points = critical_points(activation, bias_variance)
    if not points:
        raise NotCoveredError(
            f"a critical {find_activation(activation).name} at bias variance {bias_variance:g}",
            "there is no variance at which forward and backward signal both keep their size",
            "take another bias variance",
        )

    def distance(point: CriticalPoint) -> tuple[bool, float]:
        return not point.stable, abs(math.log(max(point.variance, 1e-12) / near))

    return min(points, key=distance)


@lru_cache(maxsize=256)
def half_stable_points(activation: str | Activation) -> tuple[CriticalPoint, ...]:
    r"""Critical points where :math:`\chi_\parallel = \chi_1 = 1`, and the bias is real.

    There the variance comes back from one side and runs away on the other, slowly: predictions
    for finite networks near such a point are off by 2 to 15 times, and deserve low confidence.

    Example:
        >>> [round(point.variance, 4) for point in half_stable_points("gelu")]
        [3.5616]
        >>> half_stable_points("tanh")
        ()
    """
    phi = find_activation(activation)
    if phi.homogeneous:
        return ()

    def lead(q: float) -> float:
        slope2 = moment(phi, "slope2", q)
        return moment(phi, "tilt", q) / slope2 - 1 if slope2 > 1e-300 else math.nan

    points = [critical_line(phi, q) for q in _roots(lead)]
    return tuple(point for point in points if point.bias_variance >= 0)


def near_half_stable(
    activation: str | Activation, weight_variance: float, bias_variance: float, within: float = 0.1
) -> bool:
    """Say whether an initialisation lies so near to a half-stable point that forecasts are weak.

    Near means: the weight variance within a tenth, the bias variance within a fifth of q*.

    Example:
        >>> near_half_stable("gelu", 2.0, 0.0), near_half_stable("tanh", 2.0, 0.0)
        (True, False)
    """
    return any(
        abs(weight_variance / point.weight_variance - 1) <= within
        and abs(bias_variance - point.bias_variance) <= 2 * within * point.variance
        for point in half_stable_points(activation)
    )


def _passes_origin(activation: Activation) -> bool:
    value = float(np.abs(activation.function(np.zeros(1)))[0])
    return value < EVEN and 1e-12 < moment(activation, "slope2", 0.0) < 1e12


def _roots(function: Callable[[float], float]) -> list[float]:
    """Roots on the grid where the sign changes for real, and not in the last bits."""
    values = [_safe(function, float(q)) for q in GRID]
    roots: list[float] = []
    for low, high, left, right in zip(GRID, GRID[1:], values, values[1:], strict=False):
        if left * right < 0 and max(abs(left), abs(right)) > NOISE:
            roots.append(float(brentq(function, low, high, **ROOT)))
    return roots


def _safe(function: Callable[[float], float], q: float) -> float:
    try:
        return function(q)
    except NotCoveredError:
        return math.nan
