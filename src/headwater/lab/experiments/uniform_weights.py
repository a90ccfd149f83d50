"""Why U[0, 1] fails: its positive mean saturates tanh and makes all inputs one direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from headwater.lab.circles import Circles, Weights, first_weights
from headwater.lab.claims import median
from headwater.lab.datasets import two_circles
from headwater.lab.experiment import Experiment
from headwater.lab.pictures import Style, draw_curves
from headwater.lab.rows import Array, Rows, Tables

NAMES = {"bad": "U[0, 1]", "good": "Xavier"}
LAYERS = 5


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The two draws of weights that are compared, of five hidden layers of five tanh units."""

    bad: Weights = "uniform"
    good: Weights = "xavier"


def measure(settings: Settings, seeds: Array) -> Tables:
    """Return slopes, directions and gradients by layer, before any training."""
    layers, weights = [], []
    for arm, drawn in (("bad", settings.bad), ("good", settings.good)):
        one = Circles(weights=drawn)
        layers.append(_signals(one, seeds, arm))
        weights.append(_gradients(one, seeds, arm))
    return {"members": Rows.joined(layers), "gradients": Rows.joined(weights)}


def _signals(one: Circles, seeds: Array, arm: str) -> Rows:
    from headwater.lab.network import Network

    network = Network(widths=(2, *[one.width] * one.hidden, 1))
    slopes, directions = [], []
    for seed in seeds:
        parameters = first_weights(one).draw(network, int(seed)).astype(np.float64)
        a = two_circles().train_x.astype(np.float64)
        for weight, bias in zip(
            network.tensors(parameters, "weight")[:-1],
            network.tensors(parameters, "bias")[:-1],
            strict=True,
        ):
            a = np.tanh(a @ weight.T + bias)
            slopes.append(float((1 - a**2).mean()))
            spectrum = np.linalg.svd(a - a.mean(axis=0), compute_uv=False) ** 2
            directions.append(float(spectrum[0] / spectrum.sum()))
    return Rows.of(
        arm=arm,
        seed=np.repeat(seeds, one.hidden),
        layer=np.tile(np.arange(1, one.hidden + 1), len(seeds)),
        slope=slopes,
        first_direction=directions,
    )


def _gradients(one: Circles, seeds: Array, arm: str) -> Rows:
    from headwater.lab import ensemble

    split = two_circles()
    found = ensemble.gradient_at_start(
        ensemble.Network(widths=(2, *[one.width] * one.hidden, 1)),
        ensemble.Members(seeds=seeds, initialiser=first_weights(one)),
        ensemble.Data(x=split.train_x, y=split.train_y),
    )
    layers = one.hidden + 1
    return Rows.of(
        arm=arm,
        seed=np.repeat(seeds, layers),
        layer=np.tile(np.arange(1, layers + 1), len(seeds)),
        weight_gradient=found.weights[:, 0].ravel(),
        signal_gradient=found.signals[:, 0].ravel(),
    )


def draw(tables: Tables, figure: Any, style: Style) -> None:
    """Draw the mean slope, the share of one direction and the gradient by layer."""
    axes = figure.subplots(1, 3)
    panels = (
        ("members", "slope", "Mean slope of tanh", "mean of tanh'(z)"),
        ("members", "first_direction", "Inputs become one direction", "share of variance in it"),
        ("gradients", "weight_gradient", "Gradient of the weights", "Frobenius norm"),
    )
    for one, (table, column, title, words) in zip(axes, panels, strict=True):
        for arm, colour in (("bad", style.palette[1]), ("good", style.palette[0])):
            layer, values = tables[table].where(arm=arm).grid(column, "layer")
            draw_curves(one, layer, values, colour, NAMES[arm])
        one.set(title=title, xlabel="layer", ylabel=words, xticks=layer)
    axes[0].set_ylim(0, 1)
    axes[1].set_ylim(0.4, 1.01)
    axes[2].set_yscale("log")
    axes[2].set_ylim(1e-4, 3)
    axes[1].legend(loc="lower right")


def found(tables: Tables) -> str:
    """Say what each layer does, for both draws."""
    lines = [
        "Medians over the seeds, layer by layer (the last is the output's):",
        "",
        "| weights | mean tanh' | share in one direction | weight gradient's norm |",
        "| --- | --- | --- | --- |",
    ]
    for arm, name in NAMES.items():
        cells = [
            _by_layer(tables["members"].where(arm=arm), "slope", ".2f"),
            _by_layer(tables["members"].where(arm=arm), "first_direction", ".4g"),
            _by_layer(tables["gradients"].where(arm=arm), "weight_gradient", ".2g"),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _by_layer(rows: Rows, column: str, form: str) -> str:
    _, values = rows.grid(column, "layer")
    return " ".join(format(float(value), form) for value in np.nanmedian(values, axis=0))


def _bands() -> Any:
    for layer, slope in enumerate((0.85, 0.60, 0.29, 0.16, 0.10), start=1):
        yield median(
            f"U[0, 1]: mean slope of tanh in layer {layer}",
            "slope",
            slope / 1.3,
            min(1.0, slope * 1.3),
            arm="bad",
            layer=layer,
        )
    for arm, layer, low, high in (
        ("bad", 1, 0.86, 0.96),
        ("bad", 5, 0.999, 1.0),
        ("good", 1, 0.66, 0.80),
        ("good", 5, 0.88, 0.97),
    ):
        yield median(
            f"{NAMES[arm]}: variance in one direction in layer {layer}",
            "first_direction",
            low,
            high,
            arm=arm,
            layer=layer,
        )
    norms = (0.054, 0.021, 0.013, 0.020, 0.097, 0.92)
    for layer, norm in enumerate(norms, start=1):
        yield median(
            f"U[0, 1]: norm of the weights' gradient in layer {layer}",
            "weight_gradient",
            norm / 1.8,
            norm * 1.8,
            table="gradients",
            arm="bad",
            layer=layer,
        )


EXPERIMENT = Experiment(
    name="uniform-weights-align",
    claim="Weights of U[0, 1] saturate tanh with depth and turn all inputs into one direction.",
    settings=Settings(),
    measure=measure,
    assertions=tuple(_bands()),
    draw=draw,
    found=found,
    literature=(
        "Brownlee's tutorial explains the failure by tanh and its small derivative. Poole et al. "
        "(2016), arXiv:1606.05340, and Schoenholz et al. (2017), arXiv:1611.01232, follow how "
        "correlations between inputs flow through layers, for weights of mean zero; a positive "
        "mean aligns all inputs with the vector of ones within a few layers."
    ),
    fragile=(
        "The weights' gradients are smallest in the middle layers: a comparison of the first with "
        "the last, or of dL/dz, which even grows towards the input, would call them healthy."
    ),
    size=(12.0, 4.2),
)
