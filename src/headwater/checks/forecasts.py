"""What theory expects of the layers of a measured network, as far as it goes.

Where it does not cover a layer, the forecast ends before it and begins anew after it, from what
was measured there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from headwater.checks.readings import Reading
from headwater.errors import NotCoveredError, UsageError
from headwater.theory.calculus import gradient_bands, normalises_batches, passage_of
from headwater.theory.fluctuation import Band
from headwater.theory.layers import (
    Activate,
    Convolution,
    Dense,
    Layer,
    NotCovered,
    Residual,
)
from headwater.theory.sampling import sampled_bands
from headwater.theory.transfer import Passage, Signal

_RANGE = 1e60
"""Mean squares beyond it, or under its inverse, have fourth powers that leave float64."""


@dataclass(frozen=True, kw_only=True)
class LayerForecast:
    """What theory says of one layer.

    Attributes:
        passage: Its effect, None where it is not covered.
        band: Of the gradient at its output over that at the output of the layer ``until``.
        until: The last layer before one that is not covered, or the network's last.
        why: Why it is not covered.
    """

    passage: Passage | None
    band: Band | None
    until: int
    why: str = ""


def forecast(readings: Sequence[Reading]) -> tuple[LayerForecast, ...]:
    """Return the forecast of each layer, from descriptions averaged over draws.

    Raises:
        UsageError: The draws are not of one network.
    """
    layers = averaged(readings)
    return _Forecaster(readings, layers).all()


def averaged(readings: Sequence[Reading]) -> tuple[Layer, ...]:
    """Return the layers of a network, their figures averaged over draws.

    Raises:
        UsageError: The draws differ in more than figures.
    """
    lengths = {len(reading.stages) for reading in readings}
    if len(lengths) != 1:
        raise UsageError(
            f"the factory made networks of {' and '.join(map(str, sorted(lengths)))} layers; "
            "it has to make the same one each time"
        )
    columns = zip(*[[s.layer for s in reading.stages] for reading in readings], strict=True)
    return tuple(_merged(column) for column in columns)


def _merged(layers: Sequence[Layer]) -> Layer:
    first = next((layer for layer in layers if isinstance(layer, NotCovered)), layers[0])
    if isinstance(first, NotCovered):
        return first
    if any(type(layer) is not type(first) for layer in layers):
        return NotCovered(name=first.name, why="it is another layer in each draw")
    if isinstance(first, Residual):
        branches = zip(*[layer.branch for layer in layers], strict=True)  # type: ignore[union-attr]
        skips = zip(*[layer.skip for layer in layers], strict=True)  # type: ignore[union-attr]
        return replace(first, branch=tuple(map(_merged, branches)), skip=tuple(map(_merged, skips)))
    means = {
        name: fmean(getattr(layer, name) for layer in layers)
        for name in ("weight_variance", "bias_variance", "factor", "correlation")
        if hasattr(first, name)
    }
    return replace(first, **means)  # type: ignore[arg-type]


class _Forecaster:
    def __init__(self, readings: Sequence[Reading], layers: tuple[Layer, ...]) -> None:
        self.readings, self.layers = readings, layers
        self.found: list[LayerForecast] = []
        self.passages: list[Passage] = []
        self.started: Signal | None = None

    def all(self) -> tuple[LayerForecast, ...]:
        signal = self._signal(-1)
        for place, layer in enumerate(self.layers):
            passage, why = _pass(layer, signal)
            if passage is None:
                self._close(place)
                self.found.append(LayerForecast(passage=None, band=None, until=place, why=why))
                signal = self._signal(place)
                continue
            if not self.passages:
                self.started = signal
            self.passages.append(passage)
            signal = passage.after
        self._close(len(self.layers))
        return tuple(self.found)

    def _signal(self, place: int) -> Signal | None:
        """What was measured at a layer's output, or of the network's input before the first."""
        shared = 0.0 if normalises_batches(self.layers) else float("nan")
        if place < 0:
            squares = [reading.input_square for reading in self.readings]
            known = [square for square in squares if square is not None]
            return Signal(mean_square=fmean(known), shared=shared) if known else None
        outputs = [reading.stages[place].output for reading in self.readings]
        seen = [output for output in outputs if output is not None]
        if not seen:
            return None
        return Signal(
            mean_square=fmean(output.mean_square for output in seen),
            mean=fmean(output.mean for output in seen),
            shared=shared if shared != 0 else fmean(output.shared for output in seen),
        )

    def _close(self, end: int) -> None:
        """End a stretch of covered layers before the layer ``end``."""
        passages, self.passages = self.passages, []
        if not passages:
            return
        bands = self._bands(self.layers[end - len(passages) : end], passages)
        after = [*bands[1:], Band(mean=0.0, deviation=0.0)]
        self.found += [
            LayerForecast(passage=passage, band=band, until=end - 1)
            for passage, band in zip(passages, after, strict=True)
        ]

    def _bands(self, layers: Sequence[Layer], passages: Sequence[Passage]) -> list[Band]:
        # Where the variance is not stable only drawn chains hold (see docs/why.md).
        plain = all(isinstance(layer, Dense | Convolution | Activate) for layer in layers)
        if plain and self.started is not None and self.started.mean_square > 0:
            return sampled_bands(layers, mean_square=self.started.mean_square)
        return gradient_bands(passages)


def _pass(layer: Layer, signal: Signal | None) -> tuple[Passage | None, str]:
    if signal is None:
        why = layer.why if isinstance(layer, NotCovered) else "the size of its input is not known"
        return None, why
    if not (signal.mean_square == 0 or 1 / _RANGE < signal.mean_square < _RANGE):
        return None, f"its input has mean square {signal.mean_square:.3g}, beyond what theory takes"
    try:
        passage = passage_of(layer, signal)
    except NotCoveredError as error:
        return None, str(error).partition(": ")[2].partition(";")[0]
    return (None, passage.why) if isinstance(passage, NotCovered) else (passage, "")
