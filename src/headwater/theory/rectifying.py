"""Rectifiers: activations with two straight or exponential arms that meet in a kink.

Each function returns one entry of the catalogue. Derivatives at kinks follow torch's autograd,
which is how the gradient that is measured was computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.special import erf, erfcx

from headwater.theory.activations import Activation, Closed, Moment, constant, step

SELU_SCALE = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717


def identity() -> Activation:
    """Return x itself: a deep linear network."""
    return Activation(
        name="identity",
        formula="x",
        slope_formula="1",
        function=lambda x: x * 1.0,
        derivative=np.ones_like,
        source="Saxe et al. (2014), arXiv:1312.6120",
        homogeneous=True,
        closed=_two_arms(1.0),
    )


def relu() -> Activation:
    """Return the rectified linear unit."""
    return _leaky("relu", 0.0, "max(x, 0)", "Nair and Hinton (2010), ICML")


def leaky_relu(slope: float = 0.01) -> Activation:
    """Return a rectifier with a straight arm on the left."""
    formula = f"x if x > 0 else {slope:g} x"
    return _leaky(f"leaky_relu({slope:g})", slope, formula, "Maas et al. (2013), ICML workshop")


def prelu(slope: float = 0.25) -> Activation:
    """Return the parametric rectifier as it stands at torch's start: one learnt slope."""
    source = "He et al. (2015), arXiv:1502.01852"
    return _leaky(f"prelu({slope:g})", slope, f"x if x > 0 else {slope:g} x, learnt", source)


def rrelu(mode: str = "train", lower: float = 1 / 8, upper: float = 1 / 3) -> Activation:
    """Return the randomised rectifier: in training a fresh slope for every element.

    In training the moments are means over the slope too: those of the k-th power of a uniform
    variable. The function shown is then that of the mean slope, which evaluation uses.
    """
    middle = (lower + upper) / 2
    usual = (lower, upper) == (1 / 8, 1 / 3)
    name = f"rrelu({mode})" if usual else f"rrelu({mode}, {lower:g}, {upper:g})"
    source = "Xu et al. (2015), arXiv:1505.00853"
    if mode not in {"train", "eval"}:
        raise ValueError(f"mode is train or eval, got {mode!r}")
    if mode == "eval":
        return _leaky(name, middle, f"x if x > 0 else {middle:g} x", source)

    def power(k: int) -> float:
        return sum(lower**i * upper ** (k - i) for i in range(k + 1)) / (k + 1)

    formula = f"x if x > 0 else a x, a ~ U({lower:g}, {upper:g})"
    return _leaky(name, middle, formula, source, _two_arms(middle, power))


def relu6() -> Activation:
    """Return the rectifier that is cut at 6."""
    return Activation(
        name="relu6",
        formula="min(max(x, 0), 6)",
        slope_formula="1 if 0 < x < 6 else 0",
        function=lambda x: np.clip(x, 0.0, 6.0),
        derivative=lambda x: np.where((x > 0) & (x < 6), 1.0, 0.0),
        kinks=(0.0, 6.0),
        at_kinks="0 at 0 and at 6",
        source="Krizhevsky (2010), Convolutional Deep Belief Networks on CIFAR-10",
    )


def relu2() -> Activation:
    """Return the squared rectifier; its derivative has no bound."""
    return Activation(
        name="relu2",
        formula="max(x, 0)^2",
        slope_formula="2 max(x, 0)",
        function=lambda x: np.maximum(x, 0.0) ** 2,
        derivative=lambda x: 2 * np.maximum(x, 0.0),
        kinks=(0.0,),
        at_kinks="0 at 0 (the second derivative jumps there)",
        source="So et al. (2021), Primer, arXiv:2109.08668",
        closed={
            "mean": lambda q: q / 2,
            "square": lambda q: 1.5 * q * q,
            "slope": lambda q: math.sqrt(2 * q / math.pi),
            "slope2": lambda q: 2 * q,
            "slope4": lambda q: 24 * q * q,
            "tilt": lambda q: 3 * q,
        },
    )


def hardtanh() -> Activation:
    """Return the straight line that is cut at -1 and 1."""
    inside = _inside(1.0)
    return Activation(
        name="hardtanh",
        formula="min(max(x, -1), 1)",
        slope_formula="1 if -1 < x < 1 else 0",
        function=lambda x: np.clip(x, -1.0, 1.0),
        derivative=lambda x: np.where(np.abs(x) < 1, 1.0, 0.0),
        kinks=(-1.0, 1.0),
        at_kinks="0 at -1 and at 1",
        source="Collobert (2004), Large Scale Machine Learning",
        closed={"mean": constant(0.0), "slope": inside, "slope2": inside, "slope4": inside},
    )


def elu(alpha: float = 1.0) -> Activation:
    """Return the exponential linear unit."""
    name = "elu" if alpha == 1 else f"elu({alpha:g})"
    source = "Clevert et al. (2016), arXiv:1511.07289"
    return _exponential(name, 1.0, alpha, 1.0, source)


def selu() -> Activation:
    """Return the scaled ELU whose constants keep mean 0 and variance 1 for LeCun weights."""
    source = "Klambauer et al. (2017), arXiv:1706.02515"
    return _exponential("selu", SELU_SCALE, SELU_ALPHA, 1.0, source)


def celu(alpha: float = 1.0) -> Activation:
    """Return the ELU that stays smooth for every alpha."""
    source = "Barron (2017), arXiv:1704.07483"
    return _exponential(f"celu({alpha:g})", 1.0, alpha, alpha, source)


def _two_arms(slope: float, power: Callable[[int], float] | None = None) -> Closed:
    """Moments of x for x > 0 and a x below; ``power(k)`` is the mean of a^k if a is random."""

    def arms(k: int) -> float:
        return (1 + (power(k) if power else slope**k)) / 2

    return {
        "mean": lambda q: (1 - slope) * math.sqrt(q / (2 * math.pi)),
        "square": lambda q: arms(2) * q,
        "fourth": lambda q: 3 * arms(4) * q * q,
        "slope": constant(arms(1)),
        "slope2": constant(arms(2)),
        "slope4": constant(arms(4)),
        "tilt": constant(arms(2)),
        "both": lambda q: arms(4) * q,
    }


def _leaky(
    name: str, slope: float, formula: str, source: str, closed: Closed | None = None
) -> Activation:
    return Activation(
        name=name,
        formula=formula,
        slope_formula=f"1 if x > 0 else {slope:g}",
        function=lambda x: np.where(x > 0, x, slope * x),
        derivative=lambda x: step(x, slope, 1.0, slope),
        kinks=(0.0,),
        at_kinks=f"{slope:g} at 0",
        source=source,
        homogeneous=True,
        closed=closed or _two_arms(slope),
    )


def _inside(edge: float) -> Callable[[float], float]:
    return lambda q: float(erf(edge / math.sqrt(2 * q)))


def _exponential(name: str, lift: float, alpha: float, width: float, source: str) -> Activation:
    r"""Entry for lift * x above 0 and lift * alpha * (exp(x / width) - 1) below.

    Means of the derivative's powers are closed: E[e^{kx}; x < 0] = erfcx(k sqrt(q/2)) / 2. Those
    of the function itself are left to quadrature, as their closed forms cancel for small q.
    """
    left = lift * alpha / width

    def power(k: int) -> Callable[[float], float]:
        def mean(q: float) -> float:
            return lift**k / 2 + left**k * float(erfcx(k / width * math.sqrt(q / 2))) / 2

        return mean

    closed: dict[Moment, Callable[[float], float]] = {
        "slope": power(1),
        "slope2": power(2),
        "slope4": power(4),
    }
    smooth = left == lift
    return Activation(
        name=name,
        formula=f"{lift:g} x if x > 0 else {lift * alpha:g} (exp(x / {width:g}) - 1)",
        slope_formula=f"{lift:g} if x > 0 else {left:g} exp(x / {width:g})",
        function=lambda x: np.where(
            x > 0, lift * x, lift * alpha * np.expm1(np.minimum(x, 0) / width)
        ),
        derivative=lambda x: np.where(x > 0, lift, left * np.exp(np.minimum(x, 0) / width)),
        kinks=(0.0,),
        at_kinks=f"{left:g} at 0" + (" (only the second derivative jumps)" if smooth else ""),
        source=source,
        scale=min(1.0, width),
        closed=closed,
    )
