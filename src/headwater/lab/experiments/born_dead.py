"""Narrow deep ReLU networks that are dead before training, against the theory's share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from headwater.lab import intervals
from headwater.lab.claims import share
from headwater.lab.experiment import Experiment
from headwater.lab.pictures import Style
from headwater.lab.rows import Array, Rows, Tables
from headwater.theory.deadness import dead_for_one_input

SHAPES = ((2, 5), (2, 10), (2, 20), (3, 10), (3, 20), (3, 40), (5, 10), (5, 20), (5, 40))
NETWORKS = 40  # drawn for each seed: 60 seeds are 2,400 networks
ENOUGH = 2000


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The slope below zero: 0 for ReLU, anything else for a network that cannot die."""

    slope: float = 0.0


def measure(settings: Settings, seeds: Array) -> Tables:
    """Draw networks of every shape and return which are silent for one input."""
    parts = [_drawn(width, depth, settings, int(seed)) for width, depth in SHAPES for seed in seeds]
    return {"members": Rows.joined(parts)}


def _drawn(width: int, depth: int, settings: Settings, seed: int) -> Rows:
    stream = np.random.default_rng([seed, width, depth])
    x = stream.standard_normal((NETWORKS, width, 1))
    for _ in range(depth):
        z = stream.standard_normal((NETWORKS, width, width)) @ x * np.sqrt(2 / width)
        x = np.where(z > 0, z, settings.slope * z)
    dead = (x == 0).all(axis=(1, 2))
    return Rows.of(shape=f"{width} x {depth}", width=width, depth=depth, seed=seed, dead=dead)


def draw(tables: Tables, figure: Any, style: Style) -> None:
    """Draw the share by depth with the formula's curves."""
    axes, rows = figure.subplots(), tables["members"]
    depths = np.arange(1, 45)
    for width, colour in zip(rows.distinct("width"), style.palette, strict=False):
        theory = [dead_for_one_input([width] * int(depth)) for depth in depths]
        axes.plot(depths, theory, color=colour, lw=1.5, label=f"{width} units a layer: theory")
        for depth in rows.where(width=width).distinct("depth"):
            one = intervals.share(rows.where(width=width, depth=depth)["dead"])
            axes.plot([depth, depth], [one.low, one.high], color=colour, lw=1.5)
            axes.plot(depth, one.value, "o", color=colour, ms=7)
    axes.plot([], [], "o", color=style.palette[6], label="drawn networks, 95 % interval")
    axes.set(
        title="Silent for one input before any training",
        xlabel="hidden layers",
        ylabel="share of networks",
        ylim=(-0.02, 1.02),
        xlim=(0, 45),
    )
    axes.legend(loc="center right")


def found(tables: Tables) -> str:
    """Say the measured share beside the formula's."""
    lines = ["| units x layers | drawn | theory |", "| --- | --- | --- |"]
    for width, depth in SHAPES:
        one = intervals.share(tables["members"].where(width=width, depth=depth)["dead"])
        theory = dead_for_one_input([width] * depth)
        lines.append(f"| {width} x {depth} | {one} | {theory:.3f} |")
    return "\n".join(lines)


def _bands() -> Any:
    for width, depth in SHAPES:
        theory = dead_for_one_input([width] * depth)
        yield share(
            f"{width} units, {depth} layers: dead",
            "dead",
            max(0.0, theory - 0.03),
            min(1.0, theory + 0.03),
            enough=ENOUGH,
            width=width,
            depth=depth,
        )


EXPERIMENT = Experiment(
    name="born-dead",
    claim="A ReLU network of N units a layer is silent for an input with probability "
    "1 - (1 - 2^-N)^depth.",
    settings=Settings(),
    measure=measure,
    assertions=tuple(_bands()),
    draw=draw,
    found=found,
    literature=(
        "Lu, Shin, Su and Karniadakis (2019), arXiv:1903.06733; Rister and Rubin (2020), "
        "arXiv:2007.06192. Five units in five layers give 0.15: it is why one seed in twenty of "
        "`relu-he-learns` is beyond help."
    ),
    fragile=(
        "For one input. A network dead for all its inputs is rarer, and its probability is known "
        "only within bounds. Biases of zero and symmetric weights are assumed."
    ),
)
