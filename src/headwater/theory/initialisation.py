"""Gains and variances: what an initialiser gives a network, and what it should have given.

Throughout, the weight variance is fan-in times the variance of one weight, so that 1 keeps a
linear network's signal, whatever its width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from scipy.optimize import brentq
from scipy.stats import truncnorm

from headwater.errors import NotCoveredError
from headwater.theory.activations import Activation, moment, output_variance
from headwater.theory.catalogue import find_activation
from headwater.theory.meanfield import ROOT

Keeps = Literal["gradient", "signal", "spread"]


@dataclass(frozen=True, kw_only=True)
class Initialisation:
    r"""What a scheme draws: :math:`\sigma_w^2` = fan-in Var(W) and :math:`\sigma_b^2` = Var(b).

    Example:
        >>> Initialisation(weight_variance=2.0).bias_variance
        0.0
    """

    weight_variance: float
    bias_variance: float = 0.0


def gain(
    activation: str | Activation,
    param: float | None = None,
    *,
    keeps: Keeps = "gradient",
    variance: float = 1.0,
) -> float:
    r"""Standard deviation of weights times root fan-in that keeps what is named: a gain.

    The complete ``torch.nn.init.calculate_gain``: for every activation of the catalogue, from
    its moments under :math:`x \sim N(0, q)`:

    * ``gradient``: :math:`1/\sqrt{E[\phi'^2]}`, so that gradients neither shrink nor grow,
    * ``signal``: :math:`1/\sqrt{E[\phi^2]}` for q = 1, so that pre-activations keep their size;
      in general :math:`\sqrt{q / E[\phi^2]}`,
    * ``spread``: :math:`\sqrt{q / Var[\phi]}`, for weights whose rows are centred
      (NFNet's gamma; weight standardisation).

    For rectifiers the first two agree with torch (2 ** 0.5 for ReLU). Elsewhere torch has
    constants by trial (tanh 5/3, at which gradients grow by 1.0999 a layer) or none.

    Args:
        activation: A name; torch's (``linear``, ``leaky_relu``) are known, too.
        param: Its parameter, such as a slope.
        keeps: What stays the same from layer to layer.
        variance: q, of the pre-activations.

    Raises:
        UnknownActivationError: There is no such activation.
        NotCoveredError: What should be kept is 0 in the mean square.

    Source:
        He et al. (2015), arXiv:1502.01852, for ReLU and the two directions; Brock et al. (2021),
        arXiv:2101.08692, for the spread.

    Example:
        >>> round(gain("gelu"), 6), round(gain("gelu", keeps="signal"), 6)
        (1.481114, 1.53353)
        >>> round(gain("leaky_relu", 0.2), 6)  # as torch's
        1.38675
    """
    named = isinstance(activation, str) and param is not None
    phi = find_activation(f"{activation}({param!r})" if named else activation)
    if keeps == "gradient":
        share = moment(phi, "slope2", variance)
    elif keeps == "signal":
        share = moment(phi, "square", variance) / variance
    elif keeps == "spread":
        share = output_variance(phi, variance) / variance
    else:
        raise ValueError(f"keeps got {keeps!r}; it takes 'gradient', 'signal' or 'spread'")
    if not share > 0:
        raise NotCoveredError(
            f"a gain of {phi.name} that keeps the {keeps}",
            f"at variance {variance:g} nothing of it passes",
            "take another variance",
        )
    return 1 / math.sqrt(share)


def unit_output_gain(activation: str | Activation) -> float:
    r"""Weight deviation with :math:`E[\phi(\sigma_w z)^2] = 1`: outputs of unit mean square.

    Bias 0; then 1 is a fixed point of the outputs' mean square.

    Raises:
        NotCoveredError: No weights make it 1, as for activations bounded by 1.

    Example:
        >>> round(unit_output_gain("gelu"), 9)
        1.468011261
    """
    phi = find_activation(activation)

    def miss(log_q: float) -> float:
        return moment(phi, "square", math.exp(log_q)) - 1

    low, high = math.log(1e-8), math.log(1e8)
    if miss(low) >= 0 or miss(high) <= 0:
        raise NotCoveredError(
            f"outputs of {phi.name} with mean square 1",
            "no weights give that",
            "take a smaller one",
        )
    return math.exp(float(brentq(miss, low, high, xtol=1e-15, rtol=ROOT["rtol"])) / 2)


def he(activation: str | Activation = "relu") -> Initialisation:
    """Kaiming's initialisation in fan-in mode, for any activation.

    Source: He et al. (2015), arXiv:1502.01852.

    Example:
        >>> round(he("relu").weight_variance, 12)
        2.0
    """
    return Initialisation(weight_variance=gain(activation) ** 2)


def glorot(gain: float = 1.0, fan_in: int = 1, fan_out: int = 1) -> Initialisation:
    r"""Xavier's initialisation: Var(W) = 2 gain^2 / (fan_in + fan_out).

    Source: Glorot and Bengio (2010), AISTATS.

    Example:
        >>> glorot(5 / 3, 256, 256).weight_variance == (5 / 3) ** 2  # a square layer
        True
    """
    return Initialisation(weight_variance=gain**2 * 2 * fan_in / (fan_in + fan_out))


def lecun() -> Initialisation:
    """LeCun's initialisation, which keeps a linear network's signal (and SELU's).

    Source: LeCun et al. (1998), Efficient BackProp.

    Example:
        >>> lecun().weight_variance
        1.0
    """
    return Initialisation(weight_variance=1.0)


def torch_default(fan_in: float = math.inf) -> Initialisation:
    r"""What ``nn.Linear`` and ``nn.ConvNd`` draw: U(±1/sqrt(fan_in)), weights and biases.

    ``kaiming_uniform_(a=sqrt(5))``: Var(W) = Var(b) = 1 / (3 fan_in), so
    :math:`\sigma_w^2 = 1/3`: a sixth of He's.

    Source: torch/nn/modules/linear.py, ``reset_parameters``; pytorch#15314.

    Example:
        >>> default = torch_default(512)
        >>> round(default.weight_variance, 12), round(default.bias_variance, 9)
        (0.333333333333, 0.000651042)
    """
    return Initialisation(
        weight_variance=kaiming_uniform_variance(math.sqrt(5)), bias_variance=1 / (3 * fan_in)
    )


def kaiming_uniform_variance(slope: float) -> float:
    """Weight variance of torch's ``kaiming_uniform_(a=slope)`` in fan-in mode: 2 / (1 + a^2).

    Example:
        >>> kaiming_uniform_variance(0.0)
        2.0
    """
    return 2 / (1 + slope**2)


def truncated_normal_variance(bound: float = 2.0) -> float:
    """Variance of N(0, 1) cut at ±bound: what is lost where a truncated draw is not corrected.

    Source: keras#8048, tensorflow#16344: the factor that multiplies the weight variance.

    Example:
        >>> round(truncated_normal_variance(2.0), 12)
        0.77374130355
    """
    return float(truncnorm.var(-bound, bound))
