"""Half of ReLU's activations are exactly zero before training; no other activation's are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from headwater.lab.claims import every, median
from headwater.lab.experiment import Experiment
from headwater.lab.pictures import Style, draw_curves
from headwater.lab.rows import Array, Rows, Tables
from headwater.theory.catalogue import find_activation

NAMES = {"relu": "ReLU", "leaky_relu(0.1)": "Leaky 0.1", "elu": "ELU", "tanh": "tanh"}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Untrained networks of five layers; ``mean`` shifts the mean of all weights, in deviations."""

    widths: tuple[int, ...] = (5, 25, 250)
    layers: int = 5
    points: int = 64
    mean: float = 0.0


def measure(settings: Settings, seeds: Array) -> Tables:
    """Return the share of activations that are exactly zero, by layer."""
    parts = [
        _zeros(name, width, settings, int(seed))
        for width in settings.widths
        for name in NAMES
        for seed in seeds
    ]
    return {"members": Rows.joined(parts)}


def _zeros(name: str, width: int, settings: Settings, seed: int) -> Rows:
    phi, stream = find_activation(name), np.random.default_rng([seed, width])
    x = stream.standard_normal((settings.points, width))
    shares = []
    for _ in range(settings.layers):
        weight = stream.standard_normal((width, width)) + settings.mean
        x = phi.function(x @ weight * np.sqrt(2 / width))
        shares.append(float((x == 0).mean()))
    layers = np.arange(1, settings.layers + 1)
    return Rows.of(arm=name, width=width, seed=seed, layer=layers, zero=shares)


def draw(tables: Tables, figure: Any, style: Style) -> None:
    """Draw the share of zeros by layer, one panel a width."""
    rows = tables["members"]
    axes = figure.subplots(1, len(rows.distinct("width")), sharey=True)
    for one, width in zip(axes, rows.distinct("width"), strict=True):
        for name, colour in zip(("relu", "leaky_relu(0.1)"), style.palette, strict=False):
            here = rows.where(arm=name, width=width)
            layer, zero = here.grid("zero", "layer")
            label = "ReLU" if name == "relu" else "Leaky, ELU, tanh"
            draw_curves(one, layer, zero, colour, label)
        one.set(title=f"{width} units a layer", xlabel="layer", xticks=layer, ylim=(-0.03, 1.03))
    axes[0].set_ylabel("share of exact zeros")
    axes[-1].legend(loc="upper left")


def found(tables: Tables) -> str:
    """Say the share of zeros by width."""
    words = []
    for width in tables["members"].distinct("width"):
        _, zero = tables["members"].where(arm="relu", width=width).grid("zero", "layer")
        low, middle, high = np.percentile(zero[:, -1], [5, 50, 95])
        words.append(f"{width} units: {middle:.2f} ({low:.2f} to {high:.2f})")
    return (
        "ReLU's exact zeros in the last layer, median and 5 to 95 % of the seeds: "
        f"{'; '.join(words)}. The others have none."
    )


EXPERIMENT = Experiment(
    name="relu-sparsity",
    claim="Before training half of a ReLU layer's activations are exactly zero at any depth, and "
    "none of Leaky's, ELU's or tanh's.",
    settings=Settings(),
    measure=measure,
    assertions=(
        median(
            "ReLU, 250 units, layer 1: zeros", "zero", 0.48, 0.52, arm="relu", width=250, layer=1
        ),
        median(
            "ReLU, 250 units, layer 5: zeros", "zero", 0.45, 0.55, arm="relu", width=250, layer=5
        ),
        median("ReLU, 5 units, layer 5: zeros", "zero", 0.40, 0.65, arm="relu", width=5, layer=5),
        *(
            every(f"{words}: zeros", "zero", 0.0, 0.0, arm=name)
            for name, words in NAMES.items()
            if name != "relu"
        ),
    ),
    draw=draw,
    found=found,
    literature=(
        "Glorot, Bordes and Bengio (2011), *Deep Sparse Rectifier Neural Networks*, AISTATS: after "
        "a symmetric initialisation about half of the hidden units' outputs are exact zeros, and "
        "the share grows under sparsity-inducing penalties."
    ),
    fragile=(
        "The half is an average. In a narrow network the share differs from draw to draw, up to "
        "one: a dead network. Weights of a positive mean have it anywhere."
    ),
    size=(11.0, 4.0),
)
