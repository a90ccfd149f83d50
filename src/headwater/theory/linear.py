r"""Deep linear networks: everything in closed form.

With weights c times the identity every gradient is c^L. With random weights the whole spectrum of
the input-output Jacobian is known, and with it what orthogonal weights are worth.
"""

from __future__ import annotations

import math
from typing import Literal

from headwater.theory.activations import Activation, moment
from headwater.theory.catalogue import find_activation
from headwater.theory.criticality import critical_point

Weights = Literal["gaussian", "orthogonal"]


def signal_after(factor: float, depth: int) -> float:
    """Size of a signal or gradient after ``depth`` layers of one factor: factor^depth.

    Inf and 0 are what float64 makes of it; ``headwater.theory.precision`` says when.

    Example:
        >>> signal_after(0.5, 10)
        0.0009765625
        >>> signal_after(3.0, 1000)
        inf
    """
    try:
        return float(factor**depth)
    except OverflowError:
        return math.inf if factor > 0 or depth % 2 == 0 else -math.inf


def depth_for(factor: float, ratio: float) -> float:
    """Layers (or time steps) after which the size has changed by ``ratio``, up or down.

    ``log(ratio) / |log(factor)|``; inf where the factor is 1.

    Source: Pascanu, Mikolov and Bengio (2013), arXiv:1211.5063, for recurrence.

    Example:
        >>> round(depth_for(0.5, 10.0), 12)
        3.321928094887
    """
    if factor <= 0 or ratio <= 0:
        raise ValueError(f"factor and ratio must be positive, got {factor!r} and {ratio!r}")
    rate = abs(math.log(factor))
    return math.inf if rate == 0 else abs(math.log(ratio)) / rate


def jacobian_spread(
    activation: str | Activation, depth: int, weights: Weights, variance: float | None = None
) -> float:
    r"""Relative variance of the squared singular values of a critical network's Jacobian.

    .. math:: \sigma^2_{JJ^T} = L \left(\mu_2 / \mu_1^2 - 1 - s_1\right),
              \quad \mu_k = E[\phi'^{2k}]

    with :math:`s_1 = -1` for Gaussian weights and 0 for orthogonal ones. 0 is dynamical isometry:
    all directions keep their length. Infinite width; chi_1 = 1.

    Args:
        activation: Its name.
        depth: Number of layers.
        weights: How they are drawn.
        variance: q*, of the pre-activations; else that of the activation's critical point.

    Source: Pennington, Schoenholz and Ganguli (2017), arXiv:1711.04735.

    Example:
        >>> jacobian_spread("relu", 10, "gaussian"), jacobian_spread("identity", 10, "orthogonal")
        (20.0, 0.0)
    """
    phi = find_activation(activation)
    q = critical_point(phi).variance if variance is None else variance
    kurtosis = moment(phi, "slope4", q) / moment(phi, "slope2", q) ** 2
    return depth * (kurtosis - 1 + (1 if weights == "gaussian" else 0))


def transmitted_kurtosis(activation: str | Activation, variance: float = 1.0) -> float:
    r"""How unevenly units pass the gradient: :math:`E[\phi'^4] / E[\phi'^2]^2`, at least 1.

    2 for ReLU (half the units pass all), 1 for the identity. It sets how much gradients differ
    from draw to draw (see :mod:`headwater.theory.fluctuation`).

    Example:
        >>> transmitted_kurtosis("relu")
        2.0
    """
    phi = find_activation(activation)
    return moment(phi, "slope4", variance) / moment(phi, "slope2", variance) ** 2
