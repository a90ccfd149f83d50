"""Mean activations by depth: ReLU's grow to the size of the signal, ELU's and SELU's stay small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from headwater.lab.claims import median
from headwater.lab.draws import he_normal, lecun_normal
from headwater.lab.experiment import Experiment
from headwater.lab.pictures import Style, draw_curves
from headwater.lab.rows import Array, Rows, Tables
from headwater.theory.catalogue import find_activation

WORDS = {"relu": "ReLU, He", "elu": "ELU, He", "selu": "SELU, LeCun"}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Shape of the untrained networks; ``shifted`` is the activation said to be shifted."""

    width: int = 100
    layers: int = 10
    points: int = 200
    shifted: str = "relu"


def measure(settings: Settings, seeds: Array) -> Tables:
    """Return each unit's mean over inputs, relative to the layer's size, by layer."""
    parts = []
    for arm in WORDS:
        phi = find_activation(settings.shifted if arm == "relu" else arm)
        rule = lecun_normal() if arm == "selu" else he_normal()
        for seed in seeds:
            stream = np.random.default_rng([int(seed), len(arm)])
            x = stream.standard_normal((settings.points, settings.width))
            shifts = []
            for _ in range(settings.layers):
                scale = rule.first / np.sqrt(settings.width)
                weight = stream.normal(0.0, scale, (settings.width, settings.width))
                x = phi.function(x @ weight)
                shifts.append(float(np.sqrt((x.mean(axis=0) ** 2).mean() / (x**2).mean())))
            layers = np.arange(1, settings.layers + 1)
            parts.append(Rows.of(arm=arm, seed=int(seed), layer=layers, shift=shifts))
    return {"members": Rows.joined(parts)}


def draw(tables: Tables, figure: Any, style: Style) -> None:
    """Draw the shift by layer."""
    axes = figure.subplots()
    for (arm, words), colour in zip(
        WORDS.items(), (style.palette[1], style.palette[0], style.palette[2]), strict=True
    ):
        layer, shift = tables["members"].where(arm=arm).grid("shift", "layer")
        draw_curves(axes, layer, shift, colour, words)
    axes.set(
        title="Units whose mean is far from zero: bias shift",
        xlabel="layer",
        xticks=layer,
        ylabel="mean over inputs / size (root mean square)",
        ylim=(0, 1),
    )
    axes.legend(loc="upper left")


def found(tables: Tables) -> str:
    """Say the shift in the first and the last layer."""
    words = []
    for arm, name in WORDS.items():
        _, shift = tables["members"].where(arm=arm).grid("shift", "layer")
        first, last = np.median(shift, axis=0)[[0, -1]]
        words.append(f"{name}: {first:.2f} in the first layer, {last:.2f} in the last")
    return (
        "A unit's mean over inputs, relative to the size of activations. " + "; ".join(words) + "."
    )


EXPERIMENT = Experiment(
    name="bias-shift",
    claim="Units of untrained ReLU layers have means that grow to nearly all of the signal with "
    "depth; those of SELU stay smaller.",
    settings=Settings(),
    measure=measure,
    assertions=(
        median("ReLU: shift in layer 1", "shift", 0.50, 0.62, arm="relu", layer=1),
        median("ReLU: shift in layer 10", "shift", 0.85, 1.0, arm="relu", layer=10),
        median("ELU: shift in layer 1", "shift", 0.05, 0.30, arm="elu", layer=1),
        median("SELU: shift in layer 1", "shift", 0.0, 0.2, arm="selu", layer=1),
        median("SELU: shift in layer 10", "shift", 0.0, 0.5, arm="selu", layer=10),
    ),
    draw=draw,
    found=found,
    literature=(
        "Clevert, Unterthiner and Hochreiter (2016), arXiv:1511.07289: units with a mean that is "
        "not zero act as a bias for the next layer, and ELU's negative values push means towards "
        "zero. Klambauer et al. (2017), arXiv:1706.02515: SELU has its fixed point at mean zero."
    ),
    fragile=(
        "Measured before training, over Gaussian inputs. ReLU's shift is a property of the "
        "function alone: all inputs grow alike with depth, and a unit hardly tells them apart."
    ),
)
