"""What ``headwater theory`` says: plain data, and its lines for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from headwater.errors import NotCoveredError
from headwater.theory import (
    Activation,
    Band,
    critical_points,
    gain,
    half_stable_points,
    moment,
    near_half_stable,
    sampled_bands,
    settle,
    settle_correlation,
)
from headwater.theory.activations import Moment, output_variance, steepest
from headwater.theory.criticality import CriticalPoint
from headwater.theory.layers import Activate, Dense, Layer
from headwater.theory.linear import transmitted_kurtosis
from headwater.theory.precision import number_format
from headwater.theory.residual import batch_norm_factor, layer_norm_factor

Data = dict[str, Any]
MOMENTS: tuple[Moment, ...] = ("mean", "square", "slope", "slope2", "slope4")
WORDS = {
    "ordered": "ordered: gradients vanish",
    "critical": "critical: gradients keep their size",
    "chaotic": "chaotic: gradients explode",
}
ENDS = {
    "underflow": "exactly 0 from layer {} down",
    "overflow": "infinite from layer {} down",
    "never": "holds it, if the last layer's gradient has size 1",
}


@dataclass(frozen=True, kw_only=True)
class Question:
    """An activation, and the plain network of it that is asked about."""

    activation: Activation
    sigma_w: float
    sigma_b: float
    depth: int
    width: int
    dtypes: tuple[str, ...]

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Layers from the first pre-activations to the last: activation, weights, and so on."""
        dense = Dense(
            weight_variance=self.sigma_w**2, bias_variance=self.sigma_b**2, width=self.width
        )
        activate = Activate(activation=self.activation, width=self.width)
        return (dense, *((activate, dense) * (self.depth - 1)))

    def gradients(self) -> list[Band]:
        """Band of the gradient at each layer's pre-activations over that at the last one's."""
        return [*sampled_bands(self.layers)[1::2], Band(mean=0.0, deviation=0.0)]


def answer(question: Question) -> Data:
    """Return all numbers, by plain names; None where there is none (JSON has no infinity)."""
    phi = question.activation
    slope, where = steepest(phi)
    return {
        "activation": phi.name,
        "formula": phi.formula,
        "derivative": phi.slope_formula,
        "at_kinks": phi.at_kinks,
        "derivation": phi.derivation,
        "source": phi.source,
        "largest_derivative": _finite(slope),
        "largest_derivative_at": _finite(where),
        "moments": {name: moment(phi, name, 1.0) for name in MOMENTS}
        | {"variance": output_variance(phi, 1.0), "kurtosis": transmitted_kurtosis(phi)},
        "gains": {keeps: _gain(phi, keeps) for keeps in ("gradient", "signal", "spread")},
        "critical": [_point(point) for point in critical_points(phi)],
        "half_stable": [_point(point) for point in half_stable_points(phi)],
        "batch_norm_factor": math.sqrt(batch_norm_factor(phi)),
        "layer_norm_factor": math.sqrt(layer_norm_factor(phi)),
        "network": _network(question),
    }


def lines(data: Data) -> Iterator[str]:
    """Yield the lines of the terminal."""
    yield from _about(data)
    yield from _in_general(data)
    yield from _of_network(data["network"])


def _network(question: Question) -> Data:
    phi, weight, bias = question.activation, question.sigma_w**2, question.sigma_b**2
    point = settle(phi, weight, bias)
    bands = question.gradients()
    finite = math.isfinite(point.variance)
    pair = settle_correlation(phi, weight, bias) if finite else None
    return {
        "sigma_w": question.sigma_w,
        "sigma_b": question.sigma_b,
        "depth": question.depth,
        "width": question.width,
        "fate": point.fate,
        "variance": _finite(point.variance),
        "chi_1": point.chi_1,
        "chi_parallel": point.chi_parallel,
        "gradient_factor": point.gradient_factor,
        "phase": point.phase,
        "gradient_depth": _finite(point.gradient_depth),
        "correlation": pair and pair.correlation,
        "correlation_depth": pair and _finite(pair.depth),
        "decades": bands[0].mean,
        "decades_low": bands[0].low,
        "decades_high": bands[0].high,
        "low_confidence": near_half_stable(phi, weight, bias),
        "formats": {name: _format(bands, name) for name in question.dtypes},
    }


def _format(bands: list[Band], dtype: str) -> Data:
    """Say where the gradient leaves a format, if the last layer's has size 1."""
    form = number_format(dtype)
    zero, most = form.ln_vanishing / math.log(10), math.log10(form.largest)
    for layer in range(len(bands), 0, -1):
        if bands[layer - 1].mean < zero:
            return {"fate": "underflow", "layer": layer}
        if bands[layer - 1].mean > most:
            return {"fate": "overflow", "layer": layer}
    return {"fate": "never", "layer": None}


def _gain(phi: Activation, keeps: Any) -> float | None:
    try:
        return gain(phi, keeps=keeps)
    except NotCoveredError:
        return None


def _point(point: CriticalPoint) -> Data:
    return {
        "variance": point.variance,
        "sigma_w": math.sqrt(point.weight_variance),
        "sigma_b": math.sqrt(max(point.bias_variance, 0.0)),
        "chi_parallel": point.chi_parallel,
        "stable": point.stable,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _about(data: Data) -> Iterator[str]:
    yield f"{data['activation']}: {data['formula']}"
    steep, where = data["largest_derivative"], data["largest_derivative_at"]
    top = "without bound" if steep is None else f"at most {steep:.6g}"
    place = "" if steep is None else " far out" if where is None else f" (at {where:.4g})"
    yield _row("derivative", f"{data['derivative']}; {top}{place}")
    if data["at_kinks"]:
        yield _row("at kinks", data["at_kinks"])
    if data["derivation"]:
        yield _row("comes from", data["derivation"])
    yield _row("source", data["source"])
    yield ""


def _in_general(data: Data) -> Iterator[str]:
    m, g = data["moments"], data["gains"]
    yield "for x ~ N(0, 1)"
    yield _row(
        "output", f"mean {m['mean']:.6g}, square {m['square']:.6g}, variance {m['variance']:.6g}"
    )
    yield _row(
        "derivative",
        f"mean {m['slope']:.6g}, square {m['slope2']:.6g}, kurtosis {m['kurtosis']:.6g}",
    )
    said = ", ".join(f"{keeps} {value:.6g}" for keeps, value in g.items() if value is not None)
    yield _row("gain that keeps", said)
    yield _row("batch norm", f"gradients grow {data['batch_norm_factor']:.5g} times a layer")
    yield _row("layer norm", f"gradients change {data['layer_norm_factor']:.5g} times a layer")
    for point in data["critical"] or [None]:
        yield _row("critical", _critical(point))
    for point in data["half_stable"]:
        words = f"sigma_w {point['sigma_w']:.6g}, sigma_b {point['sigma_b']:.6g}"
        yield _row(
            "half-stable", f"{words} at q* {point['variance']:.6g}: forecasts near it are weak"
        )
    yield ""


def _critical(point: Data | None) -> str:
    if point is None:
        return "nowhere without bias"
    kind = "" if point["stable"] else ", but the variance runs away from there"
    return f"sigma_w {point['sigma_w']:.6g}, sigma_b 0, at q* {point['variance']:.6g}{kind}"


def _of_network(net: Data) -> Iterator[str]:
    yield f"a network of it with sigma_w {net['sigma_w']:.6g}, sigma_b {net['sigma_b']:.6g}"
    yield _row("variance", _fate(net))
    depth = net["gradient_depth"]
    pace = "" if depth is None else f", e-fold (squared) over {depth:.4g} layers"
    yield _row("gradient", f"{net['gradient_factor']:.6g} times a layer in the end{pace}")
    yield _row("phase", WORDS[net["phase"]])
    if net["correlation"] is not None:
        pace = net["correlation_depth"]
        over = "" if pace is None else f", e-fold over {pace:.4g} layers"
        yield _row("two inputs", f"their correlation runs to {net['correlation']:.4g}{over}")
    yield ""
    yield f"from layer {net['depth']} to layer 1, {net['width']} units wide"
    low, high = net["decades_low"], net["decades_high"]
    yield _row(
        "gradient",
        f"{net['decades']:+.2f} decades ({10 ** net['decades']:.3g} times), "
        f"95 % of draws {low:+.2f} to {high:+.2f}",
    )
    if net["low_confidence"]:
        yield _row("confidence", "low: a half-stable point is near; draws differ by 2 to 15 times")
    for name, limit in net["formats"].items():
        yield _row(name, ENDS[limit["fate"]].format(limit["layer"]))


def _fate(net: Data) -> str:
    if net["fate"] == "any":
        return "stays what it is"
    if net["fate"] == "infinite":
        return "grows without end"
    if net["fate"] == "zero":
        return "shrinks to 0"
    words = f"settles at q* = {net['variance']:.6g} (slope {net['chi_parallel']:.4g})"
    return words if net["fate"] == "finite" else f"jumps about q* = {net['variance']:.6g}"


def _row(name: str, words: str) -> str:
    return f"  {name:15} {words}"
