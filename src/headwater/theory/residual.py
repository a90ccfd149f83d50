r"""Residual networks and normalised ones: growth of the gradient per block.

A block is :math:`y = s\,x + \alpha f(x)` with fresh random weights in f, so that the two terms are
uncorrelated and mean squares add: forward and backward grow by :math:`s^2 + \alpha^2 \chi_f`.

Source: Yang and Schoenholz (2017), arXiv:1712.08969; De and Smith (2020), arXiv:2002.10444.
"""

from __future__ import annotations

from headwater.theory.activations import Activation, moment, output_variance
from headwater.theory.catalogue import find_activation
from headwater.theory.linear import signal_after


def residual_factor(
    branch_chi: float, *, branch_scale: float = 1.0, skip_scale: float = 1.0
) -> float:
    r"""Factor of the gradient's mean square per block, :math:`s^2 + \alpha^2 \chi_f`.

    Args:
        branch_chi: The branch's own factor; 1 for a He-initialised ReLU layer.
        branch_scale: alpha; 1/sqrt(L) keeps L blocks bounded (by e), 0 is SkipInit's start.
        skip_scale: s; 1/sqrt(2) on both keeps everything.

    Example:
        >>> residual_factor(1.0), round(residual_factor(1.0, branch_scale=0.1), 12)
        (2.0, 1.01)
    """
    return skip_scale**2 + branch_scale**2 * branch_chi


def residual_growth(
    depth: int, branch_chi: float = 1.0, *, branch_scale: float = 1.0, skip_scale: float = 1.0
) -> float:
    """Growth of the gradient's mean square over ``depth`` blocks.

    Example:
        >>> residual_growth(10)
        1024.0
        >>> round(residual_growth(50, branch_scale=50**-0.5), 6)  # towards e
        2.691588
    """
    factor = residual_factor(branch_chi, branch_scale=branch_scale, skip_scale=skip_scale)
    return signal_after(factor, depth)


def batch_norm_factor(activation: str | Activation) -> float:
    r"""Factor of the gradient's mean square per linear, batch norm, activation: at least 1.

    :math:`E[\phi'^2] / Var[\phi]` for z ~ N(0, 1), whatever the weights' scale. By the Gaussian
    Poincare inequality Var[phi] <= E[phi'^2], with equality for the identity only: batch norm
    without skips explodes in depth. ReLU: pi / (pi - 1).

    Assumptions: infinite width and batch, samples uncorrelated.

    Source: Yang et al. (2019), arXiv:1902.08129.

    Example:
        >>> round(batch_norm_factor("relu"), 12)
        1.466942206924
    """
    phi = find_activation(activation)
    return moment(phi, "slope2", 1.0) / output_variance(phi, 1.0)


def layer_norm_factor(activation: str | Activation) -> float:
    r"""Factor of the gradient's mean square per linear, layer or RMS norm, activation.

    :math:`E[\phi'^2] / E[\phi^2]` for z ~ N(0, 1), whatever the weights' scale.

    Assumptions: infinite width; pre-activations have mean 0 over the units, as with bias 0.

    Example:
        >>> layer_norm_factor("relu")
        1.0
    """
    phi = find_activation(activation)
    return moment(phi, "slope2", 1.0) / moment(phi, "square", 1.0)
