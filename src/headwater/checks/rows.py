"""The layers of a check: what was measured of each over draws, beside its forecast."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from headwater.checks.descriptions import Stage
from headwater.checks.forecasts import LayerForecast
from headwater.checks.readings import Reading
from headwater.records import CheckedLayer
from headwater.theory.fluctuation import Band
from headwater.theory.layers import Activate, Convolution, Dense, Dropout, Layer, Scale


def layer_rows(
    readings: Sequence[Reading], forecasts: Sequence[LayerForecast]
) -> list[CheckedLayer]:
    """Return a row for each layer but those that only follow one: activations, dropout, scales.

    These are named with the layer that they follow.
    """
    stages = readings[0].stages
    shown = [
        place
        for place, (stage, said) in enumerate(zip(stages, forecasts, strict=True))
        if place == 0 or said.why or not isinstance(stage.layer, Activate | Dropout | Scale)
    ]
    rows = []
    for place, following in zip(shown, [*shown[1:], len(stages)], strict=True):
        names = [_word(stage.layer) for stage in stages[place + 1 : following]]
        row = _row(readings, forecasts, place)
        rows.append(replace(row, what=" ".join([_what(stages[place]), *names])))
    return _with_gains(rows, [forecasts[place] for place in shown])


def _row(
    readings: Sequence[Reading], forecasts: Sequence[LayerForecast], place: int
) -> CheckedLayer:
    stage, said = readings[0].stages[place], forecasts[place]
    gradients = [_relative(reading, place, len(reading.stages) - 1) for reading in readings]
    seen = [value for value in gradients if math.isfinite(value)]
    outputs = [reading.stages[place].output for reading in readings]
    squares = [output.mean_square for output in outputs if output is not None]
    band, inside = None, None
    if said.band is not None:
        parts = [_relative(reading, place, said.until) for reading in readings]
        band = _moved(said.band, readings, said.until)
        # The last layer of a stretch is where it is measured from: there is nothing to compare.
        if place != said.until and any(map(math.isfinite, parts)):
            inside = 2 * sum(_within(part, said.band) for part in parts) >= len(parts)
    return CheckedLayer(
        name=stage.layer.name or _word(stage.layer),
        what="",
        **_where(stage),
        square=median(squares) if squares else None,
        square_forecast=said.passage.after.mean_square if said.passage is not None else None,
        gradient=median(gradients) if len(seen) == len(gradients) else _lost(gradients),
        gradient_ends=(min(seen), max(seen)) if seen else None,
        gradient_forecast=band,
        inside=inside,
        note=said.why,
    )


_BEYOND = 0.1
"""Decades by which a forecast may miss for what it leaves out: higher orders in 1/width, borders of
images. A layer that does something else misses by more."""


def _within(value: float, band: Band) -> bool:
    return band.low - _BEYOND <= value <= band.high + _BEYOND


def _where(stage: Stage) -> dict[str, Any]:
    """Return the line that called the layer; a command's own, as of a Sequential, is none."""
    file = stage.place.user_file or stage.place.file
    line = stage.place.user_line if stage.place.user_file else stage.place.line
    return {"file": file, "line": line} if file.endswith(".py") else {}


def _relative(reading: Reading, place: int, until: int) -> float:
    """Gradient at one layer's output over that at another's, in decades."""
    here, there = (reading.level(reading.stages[at].node) for at in (place, until))
    return here - there if math.isfinite(there) else math.nan


def _lost(gradients: Sequence[float]) -> float | None:
    """Return what became of a gradient that is not finite in every draw."""
    if any(math.isnan(value) for value in gradients):
        return None
    return median(gradients)


def _moved(
    band: Band, readings: Sequence[Reading], until: int
) -> tuple[float, float, float] | None:
    """Return a band's low end, middle and high end, over the gradient at the network's end."""
    last = len(readings[0].stages) - 1
    at = median(_relative(reading, until, last) for reading in readings)
    if not math.isfinite(at):
        at = 0.0
    return (band.low + at, band.mean + at, band.high + at)


def _with_gains(
    rows: Sequence[CheckedLayer], forecasts: Sequence[LayerForecast]
) -> list[CheckedLayer]:
    """Add what each layer does to the gradient on its way to the row before."""
    found: list[CheckedLayer] = []
    for place, row in enumerate(rows):
        before = rows[place - 1] if place else None
        gain = expected = None
        if before is not None and before.gradient is not None and row.gradient is not None:
            gain = before.gradient - row.gradient
            gain = gain if math.isfinite(gain) else None
        one, other = forecasts[place - 1] if place else None, forecasts[place]
        if one is not None and one.until == other.until and one.band and other.band:
            expected = one.band.mean - other.band.mean
        found.append(replace(row, gain=gain, gain_forecast=expected))
    return found


def _what(stage: Stage) -> str:
    """Return a layer in words.

    Example:
        >>> from headwater.watch.stacks import NOWHERE
        >>> layer = Activate(activation="relu")
        >>> _what(Stage(node=0, layer=layer, output=None, place=NOWHERE))
        'relu'
    """
    weights = stage.weights
    if weights is None:
        return _word(stage.layer)
    kind = "conv " if weights.tensor.dim() > 2 else ""
    return f"{kind}{weights.fan_in}→{weights.width}"


def _word(layer: Layer) -> str:
    if isinstance(layer, Activate):
        return str(getattr(layer.activation, "name", layer.activation))
    if isinstance(layer, Dense | Convolution):
        return layer.name
    words = {"BatchNorm": "batch norm", "LayerNorm": "layer norm", "RMSNorm": "RMS norm"}
    kind = type(layer).__name__
    plain = {"Residual": "residual sum", "NotCovered": layer.name}
    return words.get(kind) or plain.get(kind) or kind.lower()
