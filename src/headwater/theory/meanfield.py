r"""Mean field of wide random networks: how variance, gradient and correlation go through depth.

A layer is :math:`h^{l+1} = W \phi(h^l) + b` with independent weights of variance
:math:`\sigma_w^2 / n` and biases of variance :math:`\sigma_b^2`; width goes to infinity first.
Then every :math:`h^l` is Gaussian, and three maps say all there is to say at initialisation:

* variance: :math:`q' = V(q) = \sigma_w^2 E[\phi(\sqrt q z)^2] + \sigma_b^2`,
* gradient: its mean square is multiplied by :math:`\chi_1 = \sigma_w^2 E[\phi'(\sqrt q z)^2]`,
* correlation of two inputs: see :mod:`headwater.theory.correlation`.

Source: Poole et al. (2016), arXiv:1606.05340; Schoenholz et al. (2017), arXiv:1611.01232.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from scipy.optimize import brentq

from headwater.theory.activations import Activation, moment
from headwater.theory.catalogue import find_activation

Fate = Literal["finite", "zero", "infinite", "any", "unstable"]
Phase = Literal["ordered", "critical", "chaotic"]

FLOOR, CEILING = 1e-10, 1e14  # variances below and above count as 0 and infinity
STRIDE = 1.15  # of the search for a fixed point; two of them nearer than this are one
EVEN = 1e-12  # V(q)/q this near to 1 cannot be told from 1 by quadrature
ROOT = {"xtol": 1e-300, "rtol": 4 * 2.220446049250313e-16}


def variance_map(
    activation: str | Activation, variance: float, weight_variance: float, bias_variance: float = 0
) -> float:
    r"""Variance of the next layer's pre-activations, :math:`\sigma_w^2 E[\phi^2] + \sigma_b^2`.

    Args:
        activation: Its name in the catalogue, or one of your own.
        variance: q, of this layer's pre-activations.
        weight_variance: :math:`\sigma_w^2`, that is, fan-in times the variance of a weight.
        bias_variance: :math:`\sigma_b^2`.

    Example:
        >>> variance_map("relu", 3.0, 2.0)
        3.0
    """
    _refuse_negative(weight_variance=weight_variance, bias_variance=bias_variance)
    phi = find_activation(activation)
    return weight_variance * moment(phi, "square", variance) + bias_variance


def chi_1(activation: str | Activation, variance: float, weight_variance: float) -> float:
    r"""Factor of the gradient's mean square per layer, :math:`\sigma_w^2 E[\phi'(\sqrt q z)^2]`.

    Below 1 gradients vanish, above 1 they explode; the norm's factor is its square root.
    It is also the slope of the correlation map at 1 (``q`` a fixed point).

    Source: Schoenholz et al. (2017), arXiv:1611.01232.

    Example:
        >>> chi_1("relu", 1.0, 1.0)
        0.5
    """
    _refuse_negative(weight_variance=weight_variance)
    return weight_variance * moment(find_activation(activation), "slope2", variance)


def chi_parallel(activation: str | Activation, variance: float, weight_variance: float) -> float:
    r"""Slope of the variance map, :math:`dV/dq = \sigma_w^2 E[\phi'^2 + \phi \phi'']`.

    Computed as :math:`\sigma_w^2 E[\phi \phi' x] / q` (Stein's lemma), which needs no second
    derivative and so holds with kinks. Above 1 the variance runs away from the fixed point.

    Source: Poole et al. (2016), arXiv:1606.05340.

    Example:
        >>> chi_parallel("relu", 1.0, 2.0)
        1.0
    """
    _refuse_negative(weight_variance=weight_variance)
    return weight_variance * moment(find_activation(activation), "tilt", variance)


def depth_scale(factor: float) -> float:
    r"""Layers over which a deviation changes e-fold, :math:`1 / |\log \chi|`; inf at 1.

    Source: Schoenholz et al. (2017), arXiv:1611.01232.

    Example:
        >>> depth_scale(math.exp(-0.25))
        4.0
    """
    if factor <= 0:
        return 0.0
    rate = abs(math.log(factor))
    return math.inf if rate < EVEN else 1 / rate


@dataclass(frozen=True, kw_only=True)
class FixedPoint:
    r"""Where the variance settles, and what the gradient does there.

    Attributes:
        fate: ``finite``; ``zero`` and ``infinite`` (the limits are given); ``any`` where every
            variance stays as it is (He's ReLU); ``unstable`` where it does not settle at all.
        variance: :math:`q^*`, 0 or inf for the fates of these names.
        chi_1: Factor of the gradient's mean square per layer there.
        chi_parallel: Slope of the variance map there.

    Example:
        >>> settle("tanh", 1.0, 0.05).phase
        'ordered'
    """

    fate: Fate
    variance: float
    chi_1: float
    chi_parallel: float

    @property
    def gradient_factor(self) -> float:
        """Factor of the gradient's norm per layer."""
        return math.sqrt(self.chi_1)

    @property
    def phase(self) -> Phase:
        """``ordered`` (gradients vanish), ``critical`` or ``chaotic`` (they explode)."""
        if abs(self.chi_1 - 1) <= 1e-9:
            return "critical"
        return "ordered" if self.chi_1 < 1 else "chaotic"

    @property
    def gradient_depth(self) -> float:
        """Layers over which the gradient's mean square changes e-fold."""
        return depth_scale(self.chi_1)

    @property
    def variance_depth(self) -> float:
        """Layers over which the variance's distance to the fixed point changes e-fold."""
        return depth_scale(self.chi_parallel)


def settle(
    activation: str | Activation,
    weight_variance: float,
    bias_variance: float = 0.0,
    start: float = 1.0,
) -> FixedPoint:
    r"""Follow the variance from ``start`` to where it settles.

    The map is monotone for every activation of the catalogue, so the variance runs to the first
    fixed point on its way; two that lie within 15 % of each other are seen as one or none (near a
    half-stable point the passage takes hundreds of layers anyway: see ``trajectory``). Variances
    under 1e-10 count as 0, over 1e14 as infinite.

    Args:
        activation: Its name in the catalogue, or one of your own.
        weight_variance: :math:`\sigma_w^2`.
        bias_variance: :math:`\sigma_b^2`.
        start: The first layer's variance.

    Raises:
        ValueError: A variance is negative.

    Example:
        >>> point = settle("relu", 1.0, 0.05)
        >>> point.fate, round(point.variance, 12), point.chi_1
        ('finite', 0.1, 0.5)
    """
    _refuse_negative(weight_variance=weight_variance, bias_variance=bias_variance)
    return _settled(find_activation(activation), weight_variance, bias_variance, start)


def trajectory(
    activation: str | Activation,
    weight_variance: float,
    bias_variance: float = 0.0,
    start: float = 1.0,
) -> Iterator[tuple[float, float]]:
    r"""Yield each layer's variance :math:`q_l` and :math:`\chi_1(q_l)`, from layer 1 on.

    ``start`` is :math:`q_1`, the variance of the first pre-activations.

    Example:
        >>> from itertools import islice
        >>> [round(q, 6) for q, _ in islice(trajectory("tanh", 1.0), 3)]
        [1.0, 0.394294, 0.23645]
    """
    phi, q = find_activation(activation), start
    while True:
        yield q, chi_1(phi, q, weight_variance)
        q = variance_map(phi, q, weight_variance, bias_variance)


def log10_gradient_ratio(
    activation: str | Activation,
    weight_variance: float,
    bias_variance: float = 0.0,
    start: float = 1.0,
    *,
    depth: int,
) -> float:
    r"""Decades from the last pre-activations' gradient to the first's, by mean field.

    :math:`\tfrac12 \sum_{l=1}^{L-1} \log_{10} \chi_1(q_l)`, the logarithm of the root mean square
    of :math:`|\partial L/\partial h_1| / |\partial L/\partial h_L|`; negative where they vanish.

    Example:
        >>> round(log10_gradient_ratio("relu", 1.0, depth=50), 4)  # 49 layers of a half
        -7.3752
    """
    layers = trajectory(activation, weight_variance, bias_variance, start)
    return sum(math.log10(chi) / 2 for _, (_, chi) in zip(range(depth - 1), layers, strict=False))


@lru_cache(maxsize=4096)
def _settled(
    activation: Activation, weight_variance: float, bias_variance: float, start: float
) -> FixedPoint:
    def growth(q: float) -> float:
        return variance_map(activation, q, weight_variance, bias_variance) / q - 1

    def point(fate: Fate, q: float, at: float) -> FixedPoint:
        chi = chi_1(activation, at, weight_variance)
        slope = chi_parallel(activation, at, weight_variance)
        return FixedPoint(fate=fate, variance=q, chi_1=chi, chi_parallel=slope)

    first = growth(start)
    if abs(first) <= EVEN:
        return point("any" if activation.homogeneous else "finite", start, start)
    up, before = first > 0, start
    while FLOOR < before < CEILING:
        after = before * STRIDE if up else before / STRIDE
        if (growth(after) > 0) != up:
            low, high = sorted((before, after))
            q = float(brentq(growth, low, high, **ROOT))
            found = point("finite", q, q)
            return found if found.chi_parallel > -1 else point("unstable", q, q)
        before = after
    if up:
        return point("infinite", math.inf, CEILING)
    if bias_variance > 0 or moment(activation, "square", 0.0) > FLOOR:
        q = variance_map(activation, bias_variance, weight_variance, bias_variance)
        return point("finite", q, q)
    return point("zero", 0.0, 0.0)


def _refuse_negative(**variances: float) -> None:
    for name, value in variances.items():
        if not value >= 0:
            raise ValueError(f"{name} must be at least 0, got {value!r}")
