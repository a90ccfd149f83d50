"""Gated activations: x times a gate that opens with x; not monotone, smooth or piecewise."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import expit, ndtr

from headwater.theory.activations import Activation, Closed, constant
from headwater.theory.gaussian import Array

TANH_RATE, TANH_CUBE = math.sqrt(2 / math.pi), 0.044715
QUICK_RATE = 1.702


def gelu() -> Activation:
    """Return x times the probability that a standard normal variable lies below x."""
    return Activation(
        name="gelu",
        formula="x Phi(x)",
        slope_formula="Phi(x) + x exp(-x^2 / 2) / sqrt(2 pi)",
        function=lambda x: x * ndtr(x),
        derivative=lambda x: ndtr(x) + x * _bell(x),
        source="Hendrycks and Gimpel (2016), arXiv:1606.08415",
        closed=_gelu_moments(),
    )


def gelu_tanh() -> Activation:
    """Return the approximation of GELU by tanh that GPT-2 and BERT used."""

    def gate(x: Array) -> Array:
        share: Array = expit(2 * TANH_RATE * (x + TANH_CUBE * x**3))
        return share

    def slope(x: Array) -> Array:
        open_ = gate(x)
        rate = 2 * TANH_RATE * (1 + 3 * TANH_CUBE * x**2)
        shut = expit(-2 * TANH_RATE * (x + TANH_CUBE * x**3))
        total: Array = open_ + x * open_ * shut * rate
        return total

    return Activation(
        name="gelu_tanh",
        formula="x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))",
        slope_formula="g + x g (1 - g) 2 sqrt(2/pi) (1 + 0.134145 x^2), g the gate",
        function=lambda x: x * gate(x),
        derivative=slope,
        source="Hendrycks and Gimpel (2016), arXiv:1606.08415",
        closed={"slope": constant(0.5)},
    )


def silu(rate: float = 1.0) -> Activation:
    """Return x sigmoid(rate x), which is Swish with beta = rate."""
    name = "silu" if rate == 1 else f"silu({rate:g})"
    return _swish(name, rate, "Elfwing et al. (2017), arXiv:1702.03118; Ramachandran et al. (2017)")


def quick_gelu() -> Activation:
    """Return the approximation of GELU by a sigmoid that CLIP uses."""
    return _swish("quick_gelu", QUICK_RATE, "Hendrycks and Gimpel (2016), arXiv:1606.08415")


def mish() -> Activation:
    """Return x tanh(softplus(x))."""

    def slope(x: Array) -> Array:
        plus = np.logaddexp(0.0, x)
        gate = np.tanh(plus)
        total: Array = gate + x * expit(x) / np.cosh(np.minimum(plus, 350.0)) ** 2
        return total

    return Activation(
        name="mish",
        formula="x tanh(log(1 + exp(x)))",
        slope_formula="t + x sigmoid(x) (1 - t^2), t = tanh(softplus(x))",
        function=lambda x: x * np.tanh(np.logaddexp(0.0, x)),
        derivative=slope,
        source="Misra (2019), arXiv:1908.08681",
    )


def hardswish() -> Activation:
    """Return x times the hard sigmoid; its derivative jumps from 0 at -3 and to 1 at 3."""
    return Activation(
        name="hardswish",
        formula="x min(max(x + 3, 0), 6) / 6",
        slope_formula="0 if x <= -3, (2x + 3) / 6 if x < 3, else 1",
        function=lambda x: x * (np.clip(x + 3, 0.0, 6.0) / 6),
        derivative=lambda x: np.where(x <= -3, 0.0, np.where(x < 3, (2 * x + 3) / 6, 1.0)),
        kinks=(-3.0, 3.0),
        at_kinks="0 at -3, 1 at 3",
        source="Howard et al. (2019), MobileNetV3, arXiv:1905.02244",
        closed={"slope": constant(0.5)},
    )


def _swish(name: str, rate: float, source: str) -> Activation:
    return Activation(
        name=name,
        formula="x sigmoid(x)" if rate == 1 else f"x sigmoid({rate:g} x)",
        slope_formula=f"g (1 + {rate:g} x (1 - g)), g = sigmoid({rate:g} x)",
        function=lambda x: x * expit(rate * x),
        derivative=lambda x: expit(rate * x) * (1 + rate * x * expit(-rate * x)),
        source=source,
        scale=min(1.0, 1 / rate),
        closed={"slope": constant(0.5)},
    )


def _bell(x: Array) -> Array:
    half: Array = -0.5 * np.minimum(np.abs(x), 40.0) ** 2
    return np.exp(half) / math.sqrt(2 * math.pi)


def _gelu_moments() -> Closed:
    r"""Moments of GELU by Stein's lemma.

    E[Phi^2] = 1/4 + asin(q/(1+q)) / (2 pi); each further factor x is traded for a derivative,
    E[x g] = q E[g'], until only E[bell^2] = 1 / (2 pi sqrt(1+2q)) is left.
    """

    def both(q: float) -> float:
        return 0.25 + math.asin(q / (1 + q)) / (2 * math.pi)

    def square(q: float) -> float:
        return q * (both(q) + q / (math.pi * (1 + q) * math.sqrt(1 + 2 * q)))

    def slope2(q: float) -> float:
        cross = q / (math.pi * (1 + q) * math.sqrt(1 + 2 * q))
        return both(q) + cross + q / (2 * math.pi * (1 + 2 * q) * math.sqrt(1 + 2 * q))

    return {
        "mean": lambda q: q / math.sqrt(2 * math.pi * (1 + q)),
        "square": square,
        "slope": constant(0.5),
        "slope2": slope2,
    }
