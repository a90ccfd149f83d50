r"""Forecast of a network, layer by layer: variance forwards, gradient backwards, with bands.

Forwards each layer maps a :class:`Signal` to the next. Backwards each multiplies the squared norm
of the gradient by a gain. Widths are large: the mean is mean field's, and the band is the leading
order in 1/width. Two things fluctuate: the passing itself (which units are open, how long a random
matrix makes a vector), and the mean square that the layer before happens to have, which is passed
on and changes later gains.

With :math:`\delta` the relative deviation of the mean square, each layer does

.. math:: \delta' = e\,\delta + \eta, \qquad \ln g = \ln \bar g + b\,\delta + \varepsilon

with an elasticity e, a sensitivity b and noises of variance O(1/n) that may be correlated. So the
logarithm of the gain from any layer to the end is Gaussian, with a variance by recursion.

Assumptions: weights are independent between layers, the backward vector does not depend on the
weights it meets (the independence that Yang (2020), arXiv:2006.14548, proves for large width).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from headwater.theory.fluctuation import LOG10, Band
from headwater.theory.layers import BatchNorm, Layer, NotCovered, Residual
from headwater.theory.transfer import Passage, Signal, pass_layer


@dataclass(frozen=True, kw_only=True)
class LayerForecast:
    """What theory expects of one layer.

    Attributes:
        name: The layer's.
        mean_square: Of its outputs, over units.
        mean_square_band: Band of the decimal logarithm of it.
        variance: Of its outputs, over units.
        decades: Gain of the gradient's norm over this layer alone, in decades.
        gradient: Band of the gradient's norm at the layer's *input* over that at the network's
            end, in decades; None where a layer in between is not covered.
        notes: What limits the forecast.
    """

    name: str
    mean_square: float
    mean_square_band: Band
    variance: float
    decades: float
    gradient: Band | None
    notes: tuple[str, ...] = ()


def forecast(layers: Sequence[Layer], *, mean_square: float = 1.0) -> tuple[LayerForecast, ...]:
    """Forecast every layer of a network, given the mean square of its inputs.

    Args:
        layers: Descriptions, from the input on.
        mean_square: Of the inputs, over features and samples.

    Returns:
        One forecast a layer, as far as theory goes: it ends with the first layer it does not
        cover, whose note says why. Gradients are relative to the end of what is listed.

    Raises:
        NotCoveredError: A layer gets what its formula does not allow, such as an activation after
            an activation.

    Example:
        >>> from headwater.theory.layers import Activate, Dense
        >>> block = (Dense(weight_variance=1.0, width=256), Activate(activation="relu", width=256))
        >>> table = forecast(block * 20)
        >>> band = table[0].gradient
        >>> round(band.mean, 2), round(band.low, 2), round(band.high, 2)
        (-3.05, -3.32, -2.79)
    """
    shared = 0.0 if normalises_batches(layers) else math.nan
    passages, stopped = _forwards(layers, Signal(mean_square=mean_square, shared=shared))
    bands = gradient_bands(passages)
    table = [
        LayerForecast(
            name=passage.name,
            mean_square=passage.after.mean_square,
            mean_square_band=Band(
                mean=_log10(passage.after.mean_square),
                deviation=math.sqrt(passage.after.doubt) / LOG10,
            ),
            variance=passage.after.variance,
            decades=_log10(passage.power) / 2,
            gradient=band,
            notes=passage.notes,
        )
        for passage, band in zip(passages, bands, strict=True)
    ]
    if stopped is not None:
        nothing = Band(mean=math.nan, deviation=math.nan)
        note = f"not covered: {stopped.why}"
        table = [replace(line, gradient=None) for line in table]
        table.append(
            LayerForecast(
                name=stopped.name,
                mean_square=math.nan,
                mean_square_band=nothing,
                variance=math.nan,
                decades=math.nan,
                gradient=None,
                notes=(note,),
            )
        )
    return tuple(table)


def normalises_batches(layers: Sequence[Layer]) -> bool:
    """Whether batch norm is among them; then it matters what samples share.

    Example:
        >>> normalises_batches([BatchNorm()])
        True
    """
    return any(
        isinstance(layer, BatchNorm)
        or (isinstance(layer, Residual) and normalises_batches((*layer.branch, *layer.skip)))
        for layer in layers
    )


def _forwards(layers: Sequence[Layer], signal: Signal) -> tuple[list[Passage], NotCovered | None]:
    passages: list[Passage] = []
    for layer in layers:
        passage = passage_of(layer, signal)
        if isinstance(passage, NotCovered):
            return passages, passage
        passages.append(passage)
        signal = passage.after
    return passages, None


def passage_of(layer: Layer, signal: Signal) -> Passage | NotCovered:
    """Pass a signal through any layer, a residual sum or one that is not covered among them.

    Raises:
        NotCoveredError: The layer gets what its formula does not allow.

    Example:
        >>> from headwater.theory.layers import Scale
        >>> passage_of(Scale(factor=0.5), Signal(mean_square=1.0)).after.mean_square
        0.25
    """
    if isinstance(layer, NotCovered):
        return layer
    if isinstance(layer, Residual):
        return _pass_residual(layer, signal)
    return pass_layer(layer, signal)


def _pass_residual(layer: Residual, signal: Signal) -> Passage | NotCovered:
    """Sum a stream and its branch: mean squares add, as the branch's weights are fresh."""
    inner, stopped = _forwards(layer.branch, signal)
    stream, blocked = _forwards(layer.skip, signal)
    if stopped is not None or blocked is not None:
        return stopped or blocked  # type: ignore[return-value]
    branch = inner[-1].after if inner else signal
    skipped = stream[-1].after if stream else signal
    skip, scale = layer.skip_scale**2, layer.branch_scale**2
    gain = math.prod(passage.power for passage in inner)
    kept = math.prod(passage.power for passage in stream)
    drift, noise = _log_drift(inner)
    own_drift, own_noise = _log_drift(stream)
    power = skip * kept + scale * gain
    # Shares of the sum that came through the branch, backwards and forwards.
    share = scale * gain / power if power else 0.0
    mean_square = skip * skipped.mean_square + scale * branch.mean_square
    part = scale * branch.mean_square / mean_square if mean_square else 0.0
    # Twice the product of stream and branch: its mean is 0, its variance 4 / width of theirs.
    width = next((p.width for p in reversed(inner) if p.width), None)
    cross = 4 * share * (1 - share) / width if width else 0.0
    elasticity, doubt = _elasticity(inner)
    own_elasticity, own_doubt = _elasticity(stream)
    carried = (1 - part) * own_elasticity + part * elasticity
    added = part**2 * doubt + (1 - part) ** 2 * own_doubt
    added += 4 * part * (1 - part) / width if width else 0.0
    after = Signal(
        mean_square=mean_square,
        mean=layer.skip_scale * skipped.mean + layer.branch_scale * branch.mean,
        shared=skip * skipped.shared + scale * branch.shared,
        gaussian=skipped.gaussian and branch.gaussian,
        doubt=carried**2 * signal.doubt + added,
        width=branch.width or signal.width,
    )
    return Passage(
        name=layer.name,
        after=after,
        power=power,
        elasticity=carried,
        sensitivity=share * drift + (1 - share) * own_drift,
        gain_noise=share**2 * noise + (1 - share) ** 2 * own_noise + cross,
        signal_noise=added,
        common_noise=0.0,
        width=width,
        notes=tuple(note for passage in (*inner, *stream) for note in passage.notes),
    )


def _log_drift(passages: Sequence[Passage]) -> tuple[float, float]:
    """Sensitivity of a stack's gain to the deviation at its input, and its own noise."""
    sensitivity, noise = 0.0, 0.0
    for passage in reversed(passages):
        noise += passage.noise_with(sensitivity)
        sensitivity = passage.sensitivity + passage.elasticity * sensitivity
    return sensitivity, noise


def _elasticity(passages: Sequence[Passage]) -> tuple[float, float]:
    elasticity, noise = 1.0, 0.0
    for passage in passages:
        elasticity *= passage.elasticity
        noise = passage.elasticity**2 * noise + passage.signal_noise
    return elasticity, noise


def gradient_bands(passages: Sequence[Passage]) -> list[Band]:
    """Return the band of the gradient at each passage's input, relative to the end of the last.

    Example:
        >>> from headwater.theory.layers import Scale
        >>> gradient_bands([passage_of(Scale(factor=0.1), Signal(mean_square=1.0))])[0].mean
        -1.0
    """
    bands: list[Band] = []
    decades, noise, sensitivity, own = 0.0, 0.0, 0.0, 0.0
    for place in range(len(passages) - 1, -1, -1):
        passage = passages[place]
        before = passages[place - 1].after.doubt if place else 0.0
        noise += passage.noise_with(sensitivity)
        own += passage.gain_noise
        sensitivity = passage.sensitivity + passage.elasticity * sensitivity
        decades += _log10(passage.power) / 2
        # The mean of a logarithm lies under the logarithm of the mean, by half the variance.
        mean = decades - own / 4 / LOG10
        spread = noise + sensitivity**2 * before
        bands.append(Band(mean=mean, deviation=math.sqrt(spread) / 2 / LOG10))
    return bands[::-1]


def _log10(value: float) -> float:
    return math.log10(value) if value > 0 else -math.inf
