"""What an activation is: a function, its derivative, where both bend, and what is known of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy.optimize import minimize_scalar

from headwater.theory.gaussian import Array, Function, expect, mean_over

Moment = Literal["mean", "square", "fourth", "slope", "slope2", "slope4", "tilt", "both"]
Closed = Mapping[Moment, Callable[[float], float]]

FAR = np.concatenate([np.linspace(0, 30, 3001), np.geomspace(30, 1e12, 400)])
GROWS = 1e6  # a derivative that reaches this at 1e12 is taken to have no bound


@dataclass(frozen=True, kw_only=True, eq=False)
class Activation:
    """An elementwise function of a network, with what the theory needs to know of it.

    Attributes:
        name: As in the catalogue, parameters in brackets.
        formula: The function, for people.
        slope_formula: Its derivative, for people.
        function: Array to array, of the same shape.
        derivative: Array to array; at a kink it follows torch's autograd.
        kinks: Where the derivative jumps.
        at_kinks: The derivative's value there, in words; empty without kinks.
        source: The paper that proposed it.
        derivation: Where the formula comes from, if that is worth a line.
        homogeneous: Whether phi(t x) = t phi(x) for all t > 0; then nothing depends on q.
        scale: The length over which it bends near 0 and its kinks.
        adaptive: Whether the fixed quadrature does not resolve it, as one that oscillates.
        closed: Moments known in closed form, as functions of the variance.

    Example:
        >>> cube = Activation(name="cube", formula="x^3", slope_formula="3 x^2",
        ...                   function=lambda x: x**3, derivative=lambda x: 3 * x**2)
        >>> round(moment(cube, "square", 1.0), 9)
        15.0
    """

    name: str
    formula: str
    slope_formula: str
    function: Function
    derivative: Function
    kinks: tuple[float, ...] = ()
    at_kinks: str = ""
    source: str = ""
    derivation: str = ""
    homogeneous: bool = False
    scale: float = 1.0
    adaptive: bool = False
    closed: Closed = field(default_factory=dict)


def moment(activation: Activation, which: Moment, variance: float) -> float:
    r"""A mean of the activation or its derivative under :math:`x \sim N(0, q)`.

    ======== ==================================================
    mean     :math:`E[\phi(x)]`
    square   :math:`E[\phi(x)^2]`
    fourth   :math:`E[\phi(x)^4]`
    slope    :math:`E[\phi'(x)]`
    slope2   :math:`E[\phi'(x)^2]`
    slope4   :math:`E[\phi'(x)^4]`
    tilt     :math:`dE[\phi(x)^2]/dq = E[\phi(x)\phi'(x)x]/q`
    both     :math:`E[\phi(x)^2 \phi'(x)^2]`
    ======== ==================================================

    The closed form where the catalogue has one, else quadrature. At variance 0 the limit from
    above, so that a kink at 0 counts with both its sides.

    Assumptions: ``phi`` is continuous (its derivative may jump) and grows slower than a Gaussian.

    Raises:
        DivergentIntegralError: The mean does not exist.

    Example:
        >>> from headwater.theory.catalogue import find_activation
        >>> moment(find_activation("relu"), "slope2", 3.0)
        0.5
    """
    # The limit at 0 is read so near to it that no activation bends by an ulp, and not so near
    # that x^4 is subnormal.
    q = max(float(variance), 1e-40)
    if which in activation.closed:
        return activation.closed[which](q)
    integrand = _integrand(activation, which, q)
    if activation.adaptive:
        return expect(integrand, q, kinks=activation.kinks, scale=activation.scale).value
    return mean_over(integrand, q, activation.kinks, activation.scale)


def output_variance(activation: Activation, variance: float) -> float:
    r"""Variance of the output, :math:`Var[\phi(x)]` for :math:`x \sim N(0, q)`.

    Taken about the mean, so that sigmoid at a small variance does not cancel.

    Example:
        >>> from headwater.theory.catalogue import find_activation
        >>> round(output_variance(find_activation("relu"), 1.0), 12)  # 1/2 - 1/(2 pi)
        0.340845056908
    """
    if activation.closed.keys() >= {"mean", "square"}:
        return moment(activation, "square", variance) - moment(activation, "mean", variance) ** 2
    mean = moment(activation, "mean", variance)
    q = max(float(variance), 1e-40)
    return mean_over(
        lambda x: (activation.function(x) - mean) ** 2, q, activation.kinks, activation.scale
    )


@lru_cache(maxsize=256)
def steepest(activation: Activation) -> tuple[float, float]:
    r"""Largest :math:`|\phi'(x)|` and an x where it is taken (inf: only approached).

    Example:
        >>> from headwater.theory.catalogue import find_activation
        >>> steepest(find_activation("sigmoid"))
        (0.25, 0.0)
    """
    return _peak(activation, lambda x: np.abs(activation.derivative(x)))


@lru_cache(maxsize=256)
def flattest(activation: Activation) -> tuple[float, float]:
    r"""Smallest :math:`\phi'(x)`, negative where the function turns back, and an x of it.

    Example:
        >>> from headwater.theory.catalogue import find_activation
        >>> flattest(find_activation("relu"))[0]
        0.0
    """
    value, where = _peak(activation, lambda x: -activation.derivative(x))
    return 0.0 - value, where


def _integrand(activation: Activation, which: Moment, q: float) -> Function:
    phi, slope = activation.function, activation.derivative
    table: Mapping[str, Function] = {
        "mean": phi,
        "square": lambda x: phi(x) ** 2,
        "fourth": lambda x: phi(x) ** 4,
        "slope": slope,
        "slope2": lambda x: slope(x) ** 2,
        "slope4": lambda x: slope(x) ** 4,
        "tilt": lambda x: phi(x) * slope(x) * x / q,
        "both": lambda x: (phi(x) * slope(x)) ** 2,
    }
    return table[which]


def _peak(activation: Activation, height: Function) -> tuple[float, float]:
    sides = [np.nextafter(k, toward) for k in activation.kinks for toward in (-np.inf, np.inf)]
    grid = np.unique(np.concatenate([-FAR, FAR, activation.kinks, sides]))
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.nan_to_num(height(grid), nan=-np.inf)
    # Of equal heights the one nearest to 0 is named: a plateau has no better place.
    best = int(np.lexsort((np.abs(grid), -values))[0])
    value, where = float(values[best]), float(grid[best]) + 0.0
    if value > GROWS:
        return math.inf, math.copysign(math.inf, where)
    if abs(where) > FAR[3000]:
        return value, math.copysign(math.inf, where)
    for kink in activation.kinks:
        if abs(where - kink) <= 1e-12 * max(1.0, abs(kink)):
            return value, kink
    return _refined(height, float(grid[best - 1]), float(grid[best + 1]), value, where)


def _refined(
    height: Function, low: float, high: float, value: float, where: float
) -> tuple[float, float]:
    def depth(x: float) -> float:
        return -float(height(np.array([x]))[0])

    found = minimize_scalar(depth, bounds=(low, high), method="bounded", options={"xatol": 1e-10})
    # A grid point that is the exact place, as 0 is for tanh, beats a search that ends beside it.
    if -found.fun <= value * (1 + 1e-15):
        return value, where
    return -float(found.fun), float(found.x)


def constant(value: float) -> Callable[[float], float]:
    """Return a moment that is the same at every variance.

    Example:
        >>> constant(0.5)(7.0)
        0.5
    """
    return lambda _q: value


def step(x: Array, below: float, above: float, at: float, edge: float = 0.0) -> Array:
    """Return one value below an edge, another above it, a third on it.

    Example:
        >>> step(np.array([-1.0, 0.0, 2.0]), 0.1, 1.0, 0.5).tolist()
        [0.1, 0.5, 1.0]
    """
    return np.where(x > edge, above, np.where(x < edge, below, at))
