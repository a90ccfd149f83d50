"""Saturating activations, their integrals, and sine: smooth, with derivatives that die out.

Each function returns one entry of the catalogue. tanh(x) = 2 sigmoid(2x) - 1, so the two differ
by scale only; a test holds them to it.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import erf as erf_function
from scipy.special import expit

from headwater.theory.activations import Activation, constant
from headwater.theory.gaussian import Array

NO_KINKS = ()
LECUN_HEIGHT, LECUN_RATE = 1.7159, 2 / 3


def sigmoid() -> Activation:
    """Return the logistic function, which turns a logit into a probability.

    A logit is the logarithm of the odds, x = log(p / (1 - p)). Solved for p: p / (1 - p) = e^x,
    so p = 1 / (1 + e^-x). Its derivative is p (1 - p), which is largest where p is 1/2: each
    sigmoid takes at least three quarters of a gradient.
    """
    return Activation(
        name="sigmoid",
        formula="1 / (1 + exp(-x))",
        slope_formula="p (1 - p), p = sigmoid(x)",
        function=expit,
        derivative=lambda x: expit(x) * expit(-x),
        source="Verhulst (1838); Rumelhart et al. (1986), Nature 323",
        derivation="the logit x = log(p / (1 - p)) solved for p: p / (1 - p) = e^x",
        closed={"mean": constant(0.5)},
    )


def tanh() -> Activation:
    """Return the hyperbolic tangent, a sigmoid of range (-1, 1)."""
    return _tanh("tanh", 1.0, 1.0, "LeCun et al. (1998), Efficient BackProp")


def lecun_tanh() -> Activation:
    """Return LeCun's scaled tanh, which maps 1 to 1."""
    source = "LeCun et al. (1998), Efficient BackProp"
    return _tanh("lecun_tanh", LECUN_HEIGHT, LECUN_RATE, source)


def erf(rate: float = 1.0) -> Activation:
    r"""Return the error function of ``rate`` x; its moments are all closed.

    With s = rate^2 q: E[erf^2] = (2/pi) asin(2s / (1 + 2s)), and the k-th power of the derivative
    is (2 rate / sqrt(pi))^k / sqrt(1 + 2ks). Source: Williams (1997), Computing with infinite
    networks.
    """
    height = 2 * rate / math.sqrt(math.pi)

    def square(q: float) -> float:
        return 2 / math.pi * math.asin(2 * rate**2 * q / (1 + 2 * rate**2 * q))

    def tilt(q: float) -> float:
        s = rate**2 * q
        return 4 * rate**2 / (math.pi * (1 + 2 * s) * math.sqrt(1 + 4 * s))

    return Activation(
        name="erf" if rate == 1 else f"erf({rate:g})",
        formula=f"erf({rate:g} x)",
        slope_formula=f"{height:g} exp(-({rate:g} x)^2)",
        function=lambda x: erf_function(rate * x),
        derivative=lambda x: height * np.exp(-((rate * x) ** 2)),
        source="Williams (1997), Computing with infinite networks, NIPS",
        scale=min(1.0, 1 / rate),
        closed={
            "mean": constant(0.0),
            "square": square,
            "slope": lambda q: height / math.sqrt(1 + 2 * rate**2 * q),
            "slope2": lambda q: height**2 / math.sqrt(1 + 4 * rate**2 * q),
            "slope4": lambda q: height**4 / math.sqrt(1 + 8 * rate**2 * q),
            "tilt": tilt,
        },
    )


def erf_unit() -> Activation:
    """Return the error function with derivative 1 at 0."""
    return erf(math.sqrt(math.pi) / 2)


def softsign() -> Activation:
    """Return x / (1 + |x|), which saturates slower than any exponential."""
    return Activation(
        name="softsign",
        formula="x / (1 + |x|)",
        slope_formula="1 / (1 + |x|)^2",
        function=lambda x: x / (1 + np.abs(x)),
        derivative=lambda x: (1 + np.abs(x)) ** -2.0,
        kinks=(0.0,),
        at_kinks="1 at 0 (only the second derivative jumps)",
        source="Bergstra et al. (2009), Quadratic polynomials learn better image features",
        closed={"mean": constant(0.0)},
    )


def hardsigmoid() -> Activation:
    """Return the straight line through (0, 1/2) that is cut at 0 and 1."""
    return Activation(
        name="hardsigmoid",
        formula="min(max(x / 6 + 1/2, 0), 1)",
        slope_formula="1/6 if -3 < x < 3 else 0",
        function=lambda x: np.clip(x / 6 + 0.5, 0.0, 1.0),
        derivative=lambda x: np.where(np.abs(x) < 3, 1 / 6, 0.0),
        kinks=(-3.0, 3.0),
        at_kinks="0 at -3 and at 3",
        source="Courbariaux et al. (2015), BinaryConnect, arXiv:1511.00363",
        closed={
            "mean": constant(0.5),
            "slope": lambda q: float(erf_function(3 / math.sqrt(2 * q))) / 6,
            "slope2": lambda q: float(erf_function(3 / math.sqrt(2 * q))) / 36,
            "slope4": lambda q: float(erf_function(3 / math.sqrt(2 * q))) / 1296,
        },
    )


def softplus() -> Activation:
    """Return log(1 + e^x), the integral of the sigmoid."""
    return Activation(
        name="softplus",
        formula="log(1 + exp(x))",
        slope_formula="sigmoid(x)",
        function=lambda x: np.logaddexp(0.0, x),
        derivative=expit,
        source="Dugas et al. (2001), Incorporating second-order functional knowledge, NIPS",
        closed={"slope": constant(0.5)},
    )


def logsigmoid() -> Activation:
    """Return log(sigmoid(x)) = -softplus(-x)."""
    return Activation(
        name="logsigmoid",
        formula="log(1 / (1 + exp(-x)))",
        slope_formula="sigmoid(-x)",
        function=lambda x: -np.logaddexp(0.0, -x),
        derivative=lambda x: expit(-x),
        source="the logarithm of a Bernoulli likelihood; torch.nn.LogSigmoid",
        closed={"slope": constant(0.5)},
    )


def tanhshrink() -> Activation:
    """Return x - tanh(x), flat at 0 and straight far out."""
    return Activation(
        name="tanhshrink",
        formula="x - tanh(x)",
        slope_formula="tanh(x)^2",
        function=_x_minus_tanh,
        derivative=lambda x: np.tanh(x) ** 2,
        source="torch.nn.Tanhshrink",
        closed={"mean": constant(0.0)},
    )


def sin() -> Activation:
    """Return the sine, the activation of implicit representations."""
    return Activation(
        name="sin",
        formula="sin(x)",
        slope_formula="cos(x)",
        function=np.sin,
        derivative=np.cos,
        source="Sitzmann et al. (2020), SIREN, arXiv:2006.09661",
        closed={
            "mean": constant(0.0),
            "square": lambda q: -math.expm1(-2 * q) / 2,
            "fourth": lambda q: (
                (3 - 4 * math.exp(-2 * q) + math.exp(-8 * q)) / 8
                if q > 0.1
                else 3 * q**2 * _sin_fourth_series(q)
            ),
            "slope": lambda q: math.exp(-q / 2),
            "slope2": lambda q: (1 + math.exp(-2 * q)) / 2,
            "slope4": lambda q: (3 + 4 * math.exp(-2 * q) + math.exp(-8 * q)) / 8,
            "tilt": lambda q: math.exp(-2 * q),
            "both": lambda q: -math.expm1(-8 * q) / 8,
        },
    )


def _tanh(name: str, height: float, rate: float, source: str) -> Activation:
    unit = height == 1 and rate == 1
    return Activation(
        name=name,
        formula="tanh(x)" if unit else f"{height:g} tanh({rate:.4g} x)",
        slope_formula="1 - tanh(x)^2"
        if unit
        else f"{height * rate:.5g} (1 - tanh({rate:.4g} x)^2)",
        function=lambda x: height * np.tanh(rate * x),
        # cosh, and not 1 - tanh^2, which cancels to 0 from x = 19 on.
        derivative=lambda x: height * rate / np.cosh(np.minimum(np.abs(rate * x), 350.0)) ** 2,
        source=source,
        derivation="2 sigmoid(2x) - 1" if unit else "",
        closed={"mean": constant(0.0)},
    )


def _x_minus_tanh(x: Array) -> Array:
    small = np.minimum(np.abs(x), 0.3)
    # The series of x - tanh(x) where the difference would cancel; at 0.3 its next term is 1e-17
    # of the sum.
    t = small * small
    terms = (1 / 3, -2 / 15, 17 / 315, -62 / 2835, 1382 / 155925, -21844 / 6081075)
    more = (929569 / 638512875, -6404582 / 10854718875, 443861162 / 1856156927625)
    last = (-18888466084 / 194896477400625, 113927491862 / 2900518163668125)
    series = np.polyval([*last[::-1], *more[::-1], *terms[::-1]], t)
    return np.where(np.abs(x) < 0.3, x * t * series, x - np.tanh(x))


def _sin_fourth_series(q: float) -> float:
    # E[sin^4]/(3 q^2) by the series of its closed form, which cancels for small q.
    total, term2, term8 = 0.0, 1.0, 1.0
    for k in range(1, 40):
        term2 *= -2 * q / k
        term8 *= -8 * q / k
        if k > 1:
            total += term8 - 4 * term2
    return total / (24 * q * q)
