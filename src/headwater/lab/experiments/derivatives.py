"""A gallery of activations and their derivatives, as torch's autograd has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headwater.lab.claims import every
from headwater.lab.experiment import Experiment
from headwater.lab.experiments.activations import NAMES
from headwater.lab.pictures import Style
from headwater.lab.rows import Array, Rows, Tables
from headwater.theory.activations import steepest
from headwater.theory.catalogue import find_activation

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The grid; ``scale`` multiplies every function's argument."""

    reach: float = 6.0
    points: int = 1201
    scale: float = 1.0


def measure(settings: Settings, seeds: Array) -> Tables:
    """Return torch's values and slopes on a grid, and how far the catalogue's lie from them."""
    import torch

    grid = np.linspace(-settings.reach, settings.reach, settings.points)
    curves, extremes = [], []
    for name, function in _functions().items():
        x = torch.from_numpy(grid).requires_grad_()
        y = function(settings.scale * x)
        (slope,) = torch.autograd.grad(y.sum(), x)
        value, steep = y.detach().numpy(), slope.numpy()
        phi = find_activation(name)
        curves.append(
            Rows.of(activation=name, seed=int(seeds[0]), x=grid, value=value, slope=steep)
        )
        extremes.append(
            Rows.of(
                activation=name,
                seed=seeds[:1],
                steepest=float(np.abs(steep).max()),
                theory_steepest=steepest(phi)[0],
                difference=float(np.abs(steep - phi.derivative(grid)).max()),
                negative=bool((steep < 0).any()),
            )
        )
    return {"members": Rows.joined(extremes), "curves": Rows.joined(curves)}


def _functions() -> Mapping[str, Callable[[Tensor], Tensor]]:
    import torch
    from torch.nn import functional

    return {
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "softplus": functional.softplus,
        "relu": torch.relu,
        "relu6": functional.relu6,
        "leaky_relu(0.1)": lambda x: functional.leaky_relu(x, 0.1),
        "prelu": lambda x: functional.prelu(x, torch.tensor([0.25], dtype=x.dtype)),
        "rrelu(eval)": lambda x: functional.rrelu(x, training=False),
        "elu": functional.elu,
        "gelu": functional.gelu,
        "silu": functional.silu,
        "selu": functional.selu,
        "hardswish": functional.hardswish,
    }


def draw(tables: Tables, figure: Any, style: Style) -> None:
    """Draw every function with its derivative."""
    names = tables["members"].distinct("activation")
    axes = figure.subplots(3, 5, sharex=True, sharey=True)
    for one, name in zip(axes.flat, names, strict=False):
        curve = tables["curves"].where(activation=name)
        one.axhline(0, color=style.faint, lw=0.8)
        one.plot(curve["x"], curve["value"], color=style.palette[0], label="function")
        one.plot(curve["x"], curve["slope"], color=style.palette[1], lw=1.5, label="derivative")
        one.set(title=_words(name), xlim=(-4, 4), ylim=(-1.6, 3.0))
    for one in axes.flat[len(names) :]:
        one.axis("off")
    for one in axes[-1]:
        one.set_xlabel("x")
    axes.flat[-1].legend(*axes.flat[0].get_legend_handles_labels(), loc="center")


def _words(name: str) -> str:
    return "RReLU, evaluated" if name == "rrelu(eval)" else NAMES[name]


def found(tables: Tables) -> str:
    """Say the steepest slope of each, and whether it turns back."""
    lines = ["| activation | steepest slope | falls somewhere |", "| --- | --- | --- |"]
    one = tables["members"]
    for row in range(len(one)):
        falls = "yes" if one["negative"][row] else "no"
        steep = f"{one['steepest'][row]:.4g}"
        lines.append(f"| {_words(str(one['activation'][row]))} | {steep} | {falls} |")
    return "\n".join(lines)


STEEPEST = {
    "sigmoid": 0.25,
    "tanh": 1.0,
    "relu": 1.0,
    "selu": 1.7581,
    "gelu": 1.1289,
    "silu": 1.0998,
    "hardswish": 1.5,
}

EXPERIMENT = Experiment(
    name="derivatives",
    claim="A sigmoid passes at most a quarter of a gradient; no other activation here passes "
    "less than all of it at its steepest.",
    settings=Settings(),
    measure=measure,
    assertions=(
        *(
            every(
                f"{NAMES[name]}: steepest slope",
                "steepest",
                value - 5e-3,
                value + 5e-3,
                activation=name,
            )
            for name, value in STEEPEST.items()
        ),
        every("largest difference of the catalogue's slopes from torch's", "difference", 0, 1e-6),
    ),
    draw=draw,
    found=found,
    literature=(
        "The derivatives are those of the papers that `activations` names. That a sigmoid's is at "
        "most 1/4, and a product of such factors vanishes with depth, is the classic account of "
        "vanishing gradients (Hochreiter (1991); Bengio, Simard and Frasconi (1994))."
    ),
    fragile=(
        "The steepest slope bounds one factor of the product; the weights are the other. With "
        "weights of four times the usual scale a sigmoid passes gradients on, until it saturates."
    ),
    exact=True,
    size=(12.0, 6.4),
)
