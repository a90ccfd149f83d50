"""What one layer does to the signal and to the gradient: the formulas behind the calculus."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import singledispatch

from scipy.special import ndtr

from headwater.errors import NotCoveredError
from headwater.theory.activations import Activation, moment
from headwater.theory.catalogue import find_activation
from headwater.theory.correlation import mean_of_product
from headwater.theory.gaussian import mean_over
from headwater.theory.layers import (
    Activate,
    AveragePool,
    BatchNorm,
    Convolution,
    Dense,
    Dropout,
    Layer,
    LayerNorm,
    MaxPool,
    RMSNorm,
    Scale,
)


@dataclass(frozen=True, kw_only=True)
class Signal:
    """What is known of a layer's outputs.

    Attributes:
        mean_square: Over units, of one sample.
        mean: Over units.
        shared: Mean product of one unit's outputs for two samples; 0 if samples have nothing
            in common, nan if nobody needs to know (it takes double integrals).
        gaussian: Whether the units are Gaussian with mean 0, as after a dense layer.
        doubt: Variance of the logarithm of the mean square from draw to draw.
        pinned: Whether a norm has fixed the mean square over the units themselves.
        width: Number of units, if finite.
    """

    mean_square: float
    mean: float = 0.0
    shared: float = 0.0
    gaussian: bool = False
    doubt: float = 0.0
    pinned: bool = False
    width: int | None = None

    @property
    def variance(self) -> float:
        """Variance over units."""
        return max(self.mean_square - self.mean**2, 0.0)


@dataclass(frozen=True, kw_only=True)
class Passage:
    """One layer's effect; the letters are those of :mod:`headwater.theory.calculus`.

    Attributes:
        name: The layer's.
        after: Its outputs.
        power: Gain of the gradient's squared norm, from output to input.
        elasticity: e, of the outputs' mean square to the inputs'.
        sensitivity: b, of the logarithm of the power to that of the inputs' mean square.
        gain_noise: Variance of epsilon.
        signal_noise: Variance of eta.
        common_noise: Covariance of the two.
        width: Units of the layer, if finite.
        notes: What limits the forecast.
    """

    name: str
    after: Signal
    power: float
    elasticity: float = 1.0
    sensitivity: float = 0.0
    gain_noise: float = 0.0
    signal_noise: float = 0.0
    common_noise: float = 0.0
    width: int | None = None
    notes: tuple[str, ...] = ()

    def noise_with(self, later: float) -> float:
        """Variance added to the log gain, if later layers weigh the deviation by ``later``."""
        return self.gain_noise + 2 * later * self.common_noise + later**2 * self.signal_noise


@singledispatch
def pass_layer(layer: Layer, signal: Signal) -> Passage:
    """Pass a signal through a layer.

    Raises:
        NotCoveredError: The layer gets what its formula does not allow.

    Example:
        >>> pass_layer(Dense(weight_variance=2.0), Signal(mean_square=0.5)).after.mean_square
        1.0
    """
    got = type(layer).__name__
    raise TypeError(f"{signal} met a {got}; a layer is one of headwater.theory.layers")


@pass_layer.register
def _dense(layer: Dense, signal: Signal) -> Passage:
    return _weighted(layer.name, layer.weight_variance, layer.bias_variance, layer.width, signal)


@pass_layer.register
def _convolution(layer: Convolution, signal: Signal) -> Passage:
    weight = layer.weight_variance * layer.inside
    passage = _weighted(layer.name, weight, layer.bias_variance, layer.width, signal)
    if layer.inside < 1:
        note = "mean over positions; at the border zero padding makes the signal weaker"
        return replace(passage, notes=(note,))
    return passage


def _weighted(name: str, weight: float, bias: float, width: int | None, signal: Signal) -> Passage:
    """Fresh weights: outputs are Gaussian, whatever came in."""
    mean_square = weight * signal.mean_square + bias
    carried = weight * signal.mean_square / mean_square if mean_square else 0.0
    after = Signal(
        mean_square=mean_square,
        shared=weight * signal.shared + bias,
        gaussian=True,
        doubt=carried**2 * signal.doubt,
        width=width,
    )
    # |W^T u|^2 of a Gaussian matrix is a chi-square over its degrees: variance 2/n.
    noise = 2 / width if width else 0.0
    return Passage(
        name=name, after=after, power=weight, elasticity=carried, gain_noise=noise, width=width
    )


@pass_layer.register
def _activate(layer: Activate, signal: Signal) -> Passage:
    phi = find_activation(layer.activation)
    name, q = layer.name or phi.name, signal.mean_square
    if not signal.gaussian:
        raise NotCoveredError(
            name, "its input is not Gaussian", "put a layer with weights before it, or measure it"
        )
    square, slope2 = moment(phi, "square", q), moment(phi, "slope2", q)
    elasticity = q * moment(phi, "tilt", q) / square if square else 1.0
    sensitivity = _log_slope(phi, q, slope2)
    gain_noise, signal_noise, common = _unit_noise(phi, q, layer.width)
    if signal.pinned and layer.width:
        # Units whose mean square is fixed average better: what followed it, in proportion to its
        # deviation of variance 2/n, is gone.
        gain_noise -= 2 * sensitivity**2 / layer.width
        signal_noise -= 2 * elasticity**2 / layer.width
        common -= 2 * elasticity * sensitivity / layer.width
    after = Signal(
        mean_square=square,
        mean=moment(phi, "mean", q),
        shared=_shared(phi, signal),
        doubt=elasticity**2 * signal.doubt + signal_noise,
        width=layer.width,
    )
    return Passage(
        name=name,
        after=after,
        power=slope2,
        elasticity=elasticity,
        sensitivity=sensitivity,
        gain_noise=gain_noise,
        signal_noise=signal_noise,
        common_noise=common,
        width=layer.width,
    )


def _shared(phi: Activation, signal: Signal) -> float:
    q = signal.mean_square
    if math.isnan(signal.shared) or q == 0:
        return signal.shared
    # Nine digits, so that layers that have settled are not computed again.
    correlation = round(min(max(signal.shared / q, -1.0), 1.0), 9)
    return mean_of_product(phi, float(f"{q:.12g}"), correlation)


def _log_slope(phi: Activation, q: float, slope2: float) -> float:
    """Slope d ln E[phi'^2] / d ln q, by Stein's lemma E[phi'^2 (z^2 - 1)] / (2 E[phi'^2])."""
    if not (q > 0 and slope2 > 0) or phi.homogeneous:
        return 0.0
    tilted = mean_over(lambda x: phi.derivative(x) ** 2 * (x * x / q - 1), q, phi.kinks, phi.scale)
    return tilted / 2 / slope2


def _unit_noise(phi: Activation, q: float, width: int | None) -> tuple[float, float, float]:
    """Variances of a mean over units: of the gain, of the mean square, and their covariance."""
    square, slope2 = moment(phi, "square", q), moment(phi, "slope2", q)
    if not width or not (square and slope2):
        return 0.0, 0.0, 0.0
    kappa = moment(phi, "slope4", q) / slope2**2
    peak = moment(phi, "fourth", q) / square**2
    both = moment(phi, "both", q) / (square * slope2)
    # A gradient's entries are Gaussian: their fourth moment is three times the square.
    return 3 * (kappa - 1) / width, (peak - 1) / width, (both - 1) / width


@pass_layer.register
def _batch_norm(layer: BatchNorm, signal: Signal) -> Passage:
    spread = signal.mean_square - signal.shared
    note = "infinite batch; running statistics play no part in training"
    passage = _normalised(
        layer.name, signal, scale=layer.scale, spread=spread, shared=0.0, notes=(note,)
    )
    # Unit by unit over many samples: nothing is fixed over the units of one sample.
    after = replace(passage.after, pinned=False)
    return replace(passage, after=after, gain_noise=0.0)


@pass_layer.register
def _layer_norm(layer: LayerNorm, signal: Signal) -> Passage:
    shared = signal.shared - signal.mean**2
    return _normalised(layer.name, signal, scale=layer.scale, spread=signal.variance, shared=shared)


@pass_layer.register
def _rms_norm(layer: RMSNorm, signal: Signal) -> Passage:
    return _normalised(
        layer.name, signal, scale=layer.scale, spread=signal.mean_square, shared=signal.shared
    )


def _normalised(
    name: str,
    signal: Signal,
    *,
    scale: float,
    spread: float,
    shared: float,
    notes: tuple[str, ...] = (),
) -> Passage:
    if not spread > 0:
        raise NotCoveredError(name, "what it normalises does not vary", "look at the layer before")
    after = replace(
        signal,
        mean_square=scale**2,
        mean=0.0,
        shared=scale**2 * shared / spread,
        doubt=0.0,
        pinned=signal.gaussian,
    )
    # Whatever the mean square happened to be, the norm undoes it, and the gradient is told.
    return Passage(
        name=name,
        after=after,
        power=scale**2 / spread,
        elasticity=0.0,
        sensitivity=-1.0,
        # The units' own mean square lies about its expectation with variance 2/n.
        gain_noise=2 / signal.width if signal.width and signal.gaussian else 0.0,
        width=signal.width,
        notes=notes,
    )


@pass_layer.register
def _dropout(layer: Dropout, signal: Signal) -> Passage:
    if not 0 <= layer.rate < 1:
        raise ValueError(f"a dropout rate lies in [0, 1), got {layer.rate!r}")
    lift = 1 / (1 - layer.rate)
    after = replace(signal, mean_square=lift * signal.mean_square, gaussian=False)
    return Passage(name=layer.name, after=after, power=lift)


@pass_layer.register
def _scale(layer: Scale, signal: Signal) -> Passage:
    square = layer.factor**2
    after = replace(
        signal,
        mean_square=square * signal.mean_square,
        mean=layer.factor * signal.mean,
        shared=square * signal.shared,
    )
    return Passage(name=layer.name, after=after, power=square)


@pass_layer.register
def _average_pool(layer: AveragePool, signal: Signal) -> Passage:
    kept = (1 + (layer.window - 1) * layer.correlation) / layer.window
    mean_square = kept * signal.variance + signal.mean**2
    # Forwards two samples share what their windows share; that of other positions is unknown
    # here, so the shared part is taken to be the mean alone unless the window is flat.
    shared = signal.shared if layer.correlation == 1 else signal.mean**2
    after = replace(signal, mean_square=mean_square, shared=shared, gaussian=False)
    notes = (f"positions of one window are taken to correlate by {layer.correlation:g}",)
    return Passage(name=layer.name, after=after, power=1 / layer.window, notes=notes)


@pass_layer.register
def _max_pool(layer: MaxPool, signal: Signal) -> Passage:
    if not signal.gaussian:
        raise NotCoveredError(
            layer.name, "its input is not Gaussian", "put it before the activation, or measure it"
        )
    k, deviation = layer.window, math.sqrt(signal.mean_square)

    def largest(power: int) -> float:
        return mean_over(
            lambda x: k * x**power * ndtr(x / deviation) ** (k - 1), signal.mean_square
        )

    after = replace(signal, mean_square=largest(2), mean=largest(1), gaussian=False)
    notes = ("positions of one window are taken to be independent",)
    # One position of each window gets all of the gradient: the norm stays.
    return Passage(name=layer.name, after=after, power=1.0, notes=notes)
