"""How the size of an update falls as pre-activations grow: saturation stops updates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from headwater.lab.claims import median
from headwater.lab.experiment import Experiment
from headwater.lab.pictures import Style, draw_curves
from headwater.lab.rows import Array, Rows, Tables
from headwater.theory.activations import moment
from headwater.theory.catalogue import find_activation

NAMES = {"sigmoid": "sigmoid", "tanh": "tanh", "relu": "ReLU"}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One layer, the scales of its pre-activations; ``saturating`` stands in for tanh."""

    inputs: int = 50
    units: int = 50
    points: int = 100
    scales: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
    saturating: str = "tanh"


def measure(settings: Settings, seeds: Array) -> Tables:
    """Return the weights' gradient of a layer, relative to that of a linear layer."""
    parts = []
    for seed in seeds:
        for arm in NAMES:
            name = settings.saturating if arm == "tanh" else arm
            updates = [_update(name, scale, settings, int(seed)) for scale in settings.scales]
            parts.append(Rows.of(arm=arm, seed=int(seed), scale=settings.scales, update=updates))
    return {"members": Rows.joined(parts)}


def _update(name: str, scale: float, settings: Settings, seed: int) -> float:
    import torch

    functions = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}
    stream = np.random.default_rng([seed, 5])
    x = torch.from_numpy(stream.standard_normal((settings.points, settings.inputs)))
    drawn = stream.normal(0, scale / math.sqrt(settings.inputs), (settings.inputs, settings.units))
    wanted = torch.from_numpy(stream.standard_normal((settings.points, settings.units)))
    weight = torch.from_numpy(drawn).requires_grad_()
    z = x @ weight
    (bent,) = torch.autograd.grad((functions[name](z) * wanted).sum(), weight, retain_graph=True)
    (straight,) = torch.autograd.grad((z * wanted).sum(), weight)
    return float(bent.norm() / straight.norm())


def draw(tables: Tables, figure: Any, style: Style) -> None:
    """Draw the update by the pre-activations' scale, with the theory's curve."""
    axes = figure.subplots()
    fine = np.geomspace(0.1, 100, 60)
    for (arm, words), colour in zip(NAMES.items(), style.palette, strict=False):
        scale, update = tables["members"].where(arm=arm).grid("update", "scale")
        draw_curves(axes, scale, update, colour, words)
        theory = [_theory(arm, s) for s in fine]
        axes.plot(
            fine, theory, color=style.ink, lw=1, ls=":", label="theory" if arm == "relu" else None
        )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="standard deviation of the pre-activations",
        ylabel="update, relative to a linear layer's",
        title="Size of a gradient step",
    )
    axes.legend()


def _theory(name: str, scale: float) -> float:
    return math.sqrt(moment(find_activation(name), "slope2", scale**2))


def found(tables: Tables) -> str:
    """Say what is left of an update at three scales."""
    words = []
    for arm, name in NAMES.items():
        scale, update = tables["members"].where(arm=arm).grid("update", "scale")
        values = [f"{np.median(update[:, list(scale).index(s)]):.3g}" for s in (1.0, 10.0, 100.0)]
        words.append(f"{name} {', '.join(values)}")
    return (
        "Update relative to a linear layer's, for pre-activations of deviation 1, 10 and 100: "
        f"{'; '.join(words)}."
    )


def _bands() -> Any:
    for arm, words in NAMES.items():
        for scale in (1.0, 10.0, 100.0):
            theory = _theory(arm, scale)
            yield median(
                f"{words}: update at deviation {scale:g}",
                "update",
                theory / 1.1,
                theory * 1.1,
                arm=arm,
                scale=scale,
            )


EXPERIMENT = Experiment(
    name="saturation-stops-updates",
    claim="Updates of sigmoid and tanh layers shrink with the pre-activations' scale as the theory "
    "says, those of ReLU layers not at all.",
    settings=Settings(),
    measure=measure,
    assertions=tuple(_bands()),
    draw=draw,
    found=found,
    literature=(
        "LeCun, Bottou, Orr and Müller (1998), *Efficient BackProp*: scale inputs and weights so "
        "that units work in the sigmoid's linear part. The mean over Gaussian pre-activations, "
        "the root of E[phi'(z)^2], is `headwater theory`'s."
    ),
    fragile=(
        "The norm falls as one over the root of the scale, not exponentially: of many units a few "
        "are always near their bend. Depth multiplies such factors."
    ),
)
