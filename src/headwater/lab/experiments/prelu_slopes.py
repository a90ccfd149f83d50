"""Which slopes PReLU learns, layer by layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from headwater.lab.circles import Circles, members, train_circles
from headwater.lab.claims import every, median, share
from headwater.lab.experiment import Experiment
from headwater.lab.pictures import Style, draw_curves
from headwater.lab.rows import Array, Rows, Tables

START = 0.25  # He's and torch's first slope


def measure(settings: Circles, seeds: Array) -> Tables:
    """Train and return the slope of every layer by epoch."""
    history = train_circles(settings, seeds, weights=10)
    assert history.weights is not None
    slopes, epochs = history.weights.slopes, history.weights.epochs
    count, times, layers = slopes.shape
    if layers == 0:  # another activation, which learns none: they are where they were
        slopes, layers = np.full((count, times, settings.hidden), START), settings.hidden
    table = Rows.of(
        seed=np.repeat(history.seeds, times * layers),
        epoch=np.tile(np.repeat(epochs, layers), count),
        layer=np.tile(np.arange(1, layers + 1), count * times),
        slope=slopes.ravel().astype(float),
    )
    last = slopes[:, -1].astype(float)
    spread = Rows.of(
        **members(settings, history).columns,
        first_slope=slopes[:, 0, 0].astype(float),
        moved=np.abs(last - START).max(axis=1),
        last_slope_1=last[:, 0],
        negative=(last < 0).any(axis=1),
    )
    return {"members": spread, "slopes": table}


def draw(tables: Tables, figure: Any, style: Style) -> None:
    """Draw the slopes by epoch, one panel a layer."""
    rows = tables["slopes"]
    layers = rows.distinct("layer")
    axes = np.atleast_1d(figure.subplots(1, len(layers), sharey=True))
    for one, layer in zip(axes, layers, strict=True):
        epoch, slopes = rows.where(layer=layer).grid("slope", "epoch")
        draw_curves(one, epoch, slopes, style.palette[0], "median")
        one.axhline(START, color=style.palette[6], lw=1, ls="--")
        one.set(title=f"layer {layer}", xlabel="epoch", ylim=(-1.5, 2.0))
    axes[0].set_ylabel("learned slope (dashed: at first)")


def found(tables: Tables) -> str:
    """Say where the slopes end."""
    rows = tables["slopes"]
    last = rows.where(epoch=rows["epoch"].max())
    words = []
    for layer in last.distinct("layer"):
        low, middle, high = np.percentile(last.where(layer=layer)["slope"], [10, 50, 90])
        words.append(f"layer {layer}: {middle:.2f} ({low:.2f} to {high:.2f})")
    negative = tables["members"]["negative"].mean()
    return (
        f"Slopes at the end, median and 10 to 90 % of the seeds: {'; '.join(words)}. In "
        f"{negative:.2f} of the seeds at least one layer has learned a negative slope."
    )


EXPERIMENT = Experiment(
    name="prelu-slopes",
    claim="PReLU moves its slopes far from the 0.25 where they start, and to both sides of it.",
    settings=Circles(activation="prelu", weights="he"),
    measure=measure,
    assertions=(
        every("slope at first", "first_slope", START, START),
        median("the layer whose slope moved most: by", "moved", 0.2, 3.0),
        share("share that learns", "learns", 0.9, 1.0),
        share("at least one negative slope", "negative", 0.3, 1.0),
    ),
    draw=draw,
    found=found,
    literature=(
        "He, Zhang, Ren and Sun (2015), arXiv:1502.01852, learn one slope a channel or layer, "
        "starting at 0.25 without weight decay. They find larger slopes in the first layer, which "
        "keep both signs of a filter, and smaller ones deeper, where the network becomes more "
        "nonlinear."
    ),
    fragile=(
        "Five units a layer leave little to a layer but its slope: wider networks move theirs "
        "less. A slope may become negative: then the unit folds."
    ),
    size=(12.0, 3.8),
)
