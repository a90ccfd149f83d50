r"""Finite width: how far a gradient may lie from its mean field value in one draw of weights.

The logarithm of a gradient's norm is a sum over layers, so it is nearly normal, and its variance
grows with depth over width. A measurement is judged against a 95 % band, not a threshold.

Per layer of He ReLU, of width n: :math:`|W^T D u|^2 = (2/n) \chi^2_K |u|^2`, with K of n units
open, K ~ Bin(n, 1/2); so moments of the logarithm are means of digamma functions, exactly.
Source: Hanin and Nica (2020), arXiv:1812.05994, for the law and the 5 beta of its variance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, polygamma
from scipy.stats import binom

from headwater.theory.activations import Activation, moment
from headwater.theory.catalogue import find_activation
from headwater.theory.gaussian import Array

NORMAL_95 = 1.959963984540054
LOG10 = math.log(10)


@dataclass(frozen=True, kw_only=True)
class Band:
    """The distribution of a base-10 logarithm, in decades: normal, or with its own 95 % ends.

    Example:
        >>> band = Band(mean=-2.0, deviation=0.5)
        >>> round(band.low, 3), round(band.high, 3), -2.9 in band, -3.1 in band
        (-2.98, -1.02, True, False)
    """

    mean: float
    deviation: float
    ends: tuple[float, float] | None = None

    @property
    def low(self) -> float:
        """Lower end of the 95 % band."""
        return self.ends[0] if self.ends else self.mean - NORMAL_95 * self.deviation

    @property
    def high(self) -> float:
        """Upper end of the 95 % band."""
        return self.ends[1] if self.ends else self.mean + NORMAL_95 * self.deviation

    def __contains__(self, value: float) -> bool:
        """Say whether a measurement lies within the band."""
        return self.low <= value <= self.high


@dataclass(frozen=True, kw_only=True)
class LogMoments:
    r"""Mean and variance of :math:`\ln(|J u|^2)`, natural logarithm, of one or more layers."""

    mean: float
    variance: float

    def over(self, layers: int) -> LogMoments:
        """Return the moments of a stack of independent layers.

        Example:
            >>> LogMoments(mean=-0.5, variance=1.0).over(4)
            LogMoments(mean=-2.0, variance=4.0)
        """
        return LogMoments(mean=self.mean * layers, variance=self.variance * layers)

    @property
    def band(self) -> Band:
        """The norm's band in decades: half the logarithm of the square, in base 10."""
        return Band(mean=self.mean / 2 / LOG10, deviation=math.sqrt(self.variance) / 2 / LOG10)


def relu_layer(width: int) -> LogMoments:
    r"""Log gain of one He-ReLU layer, exact at every width, given that not all units are closed.

    :math:`E = \ln(4/n) + E[\psi(K/2)]`, :math:`Var = E[\psi_1(K/2)] + Var[\psi(K/2)]`; leading
    orders -5/(2n) and 5/n.

    Assumptions: Gaussian weights of variance 2/n, no bias, square layers; the vector that is
    passed back does not depend on the layer's weights.

    Example:
        >>> round(relu_layer(5).mean, 9), round(relu_layer(5).variance, 9)
        (-0.623392865, 2.362268762)
    """
    _refuse_no_width(width)
    opened = np.arange(1.0, width + 1)
    # Far from the middle the probabilities underflow to 0, as they should.
    chances: Array = binom.pmf(opened, width, 0.5)
    share = chances / chances.sum()
    logs = digamma(opened / 2)
    middle = float(share @ logs)
    spread = float(share @ polygamma(1, opened / 2)) + float(share @ (logs - middle) ** 2)
    return LogMoments(mean=math.log(4 / width) + middle, variance=spread)


def linear_layer(width: int) -> LogMoments:
    r"""Log gain of one linear layer with Gaussian weights of variance 1/n: exact.

    :math:`E = \psi(n/2) + \ln(2/n)`, :math:`Var = \psi_1(n/2)`; leading orders -1/n and 2/n.

    Example:
        >>> round(linear_layer(5).variance, 9)
        0.490357756
    """
    _refuse_no_width(width)
    return LogMoments(
        mean=float(digamma(width / 2)) + math.log(2 / width),
        variance=float(polygamma(1, width / 2)),
    )


def layer(activation: str | Activation, variance: float, width: int) -> LogMoments:
    r"""Log gain of one critical layer of any activation, to leading order in 1/n.

    Variance :math:`(3 \kappa - 1)/n` with :math:`\kappa = E[\phi'^4] / E[\phi'^2]^2`, mean minus
    half of it. ReLU and the identity are given exactly. What the fluctuating variance of the
    pre-activations adds is in :func:`headwater.theory.calculus.forecast`.

    Example:
        >>> round(layer("tanh", 1.0, 100).variance, 6)
        0.037504
    """
    phi = find_activation(activation)
    if phi.name == "relu":
        return relu_layer(width)
    if phi.name == "identity":
        return linear_layer(width)
    _refuse_no_width(width)
    kappa = moment(phi, "slope4", variance) / moment(phi, "slope2", variance) ** 2
    spread = (3 * kappa - 1) / width
    return LogMoments(mean=-spread / 2, variance=spread)


def relu_second_moment(width: int) -> float:
    r"""Second moment of one He-ReLU layer's gain :math:`r = |J u|^2`, 1 + 5/n: exact.

    Example:
        >>> relu_second_moment(50)
        1.1
    """
    _refuse_no_width(width)
    return 1 + 5 / width


def relu_fourth_moment_ratio(width: int, depth: int) -> float:
    r""":math:`E|Ju|^4 / (E|Ju|^2)^2 = (1 + 5/n)^L`, about exp(5 L/n): exact.

    Example:
        >>> round(relu_fourth_moment_ratio(100, 50), 9)
        11.467399786
    """
    return relu_second_moment(width) ** depth


def _refuse_no_width(width: int) -> None:
    if width < 1:
        raise ValueError(f"width must be at least 1, got {width!r}")
