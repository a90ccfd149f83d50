"""Training on the two circles: what the experiments on them share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from headwater.lab import intervals
from headwater.lab.datasets import two_circles
from headwater.lab.draws import (
    Initialiser,
    constant,
    he_uniform,
    uniform,
    xavier_uniform,
)
from headwater.lab.history import History
from headwater.lab.pictures import Style, draw_curves
from headwater.lab.rows import Array, Rows, Tables

Weights = Literal["uniform", "xavier", "he", "negative"]

LEARNT = 0.75  # test accuracy over which a network counts as having learnt; the best is 0.84

# U[0, 1] is drawn for all layers, the output's too; He's for hidden ones, Xavier's for the output.
INITIALISERS: Mapping[Weights, Initialiser] = {
    "uniform": Initialiser(hidden=uniform(0.0, 1.0)),
    "xavier": Initialiser(hidden=xavier_uniform()),
    "he": Initialiser(hidden=he_uniform(), output=xavier_uniform()),
    "negative": Initialiser(hidden=uniform(-1.0, 0.0), output=xavier_uniform()),
}


@dataclass(frozen=True, kw_only=True)
class Circles:
    """How networks are trained on the two circles.

    Attributes:
        activation: Of the hidden layers.
        weights: What the first weights are drawn from.
        hidden: Number of hidden layers.
        width: Units of each.
        optimiser: ``sgd`` with momentum 0.9, or ``adam``.
        rate: Its learning rate.
        epochs: After which accuracy is judged.
        late: Training goes on to this many times ``epochs``, and is judged again.
        bias: Of the hidden units at first.
        batch_norm: Before each activation.
        every: Epochs between two measurements of loss and accuracy.
        data_seed: Of the points.
    """

    activation: str = "tanh"
    weights: Weights = "uniform"
    hidden: int = 5
    width: int = 5
    optimiser: Literal["sgd", "adam"] = "sgd"
    rate: float = 0.01
    epochs: int = 500
    late: int = 1
    bias: float = 0.0
    batch_norm: bool = False
    every: int = 5
    data_seed: int = 1


def train_circles(one: Circles, seeds: Array, **record: int) -> History:
    """Train a network of every seed.

    Args:
        one: How.
        seeds: ``[members]``.
        record: What else is kept, as ``Record`` of the ensembles has it.
    """
    from headwater.lab import ensemble

    rate = one.rate
    optimiser = ensemble.sgd(rate, momentum=0.9) if one.optimiser == "sgd" else ensemble.adam(rate)
    split = two_circles(seed=one.data_seed)
    return ensemble.train(
        ensemble.Network(
            widths=(2, *[one.width] * one.hidden, 1),
            activation=one.activation,
            batch_norm=one.batch_norm,
        ),
        ensemble.Members(seeds=seeds, initialiser=first_weights(one)),
        ensemble.Data(x=split.train_x, y=split.train_y, test_x=split.test_x, test_y=split.test_y),
        ensemble.Training(epochs=one.epochs * one.late, optimiser=optimiser),
        record=ensemble.Record(losses=one.every, **record),
    )


def first_weights(one: Circles) -> Initialiser:
    """Return what draws the networks before training; the output's bias is 0."""
    drawn = INITIALISERS[one.weights]
    return replace(drawn, bias=constant(one.bias), output_bias=constant(0.0))


def members(one: Circles, history: History, **labels: Any) -> Rows:
    """Return a row a network: accuracies, whether it learnt and when, whether it stayed finite."""
    losses = history.losses
    judged = int(np.searchsorted(losses.epochs, one.epochs))
    at = losses.test_accuracy[:, judged]
    first = history.first_epoch_over(LEARNT)
    # A network that is NaN tells nothing apart: what it says is as good as a constant.
    return Rows.of(
        **labels,
        seed=history.seeds,
        train_accuracy=losses.train_accuracy[:, judged],
        test_accuracy=at,
        learns=at > LEARNT,
        late_accuracy=losses.test_accuracy[:, -1],
        learns_late=losses.test_accuracy[:, -1] > LEARNT,
        first_epoch=np.where(first <= one.epochs, first, np.nan),
        first_epoch_ever=first,
        finite=history.finite,
        highest_accuracy=np.nanmax(losses.test_accuracy, axis=1, initial=0.0),
    )


def curves(history: History, **labels: Any) -> Rows:
    """Return a row a network and measured epoch: loss and accuracies."""
    losses = history.losses
    count = len(losses.epochs)
    return Rows.of(
        **labels,
        seed=np.repeat(history.seeds, count),
        epoch=np.tile(losses.epochs, len(history)),
        train_loss=losses.train_loss.ravel(),
        train_accuracy=losses.train_accuracy.ravel(),
        test_accuracy=losses.test_accuracy.ravel(),
    )


def measure_circles(settings: Circles, seeds: Array) -> Tables:
    """Train, and return the networks and their curves."""
    history = train_circles(settings, seeds)
    return {"members": members(settings, history), "epochs": curves(history)}


def draw_learning(tables: Tables, figure: Any, style: Style) -> None:
    """Draw test accuracy by epoch, a thin line a seed, and where the seeds end."""
    left, right = figure.subplots(1, 2, width_ratios=[3, 1], sharey=True)
    epoch, accuracy = tables["epochs"].grid("test_accuracy", "epoch")
    colour = style.palette[0]
    draw_curves(left, epoch, accuracy, colour, "median of the seeds")
    for height, words in ((0.8406, "best possible"), (LEARNT, "counts as learnt")):
        left.axhline(height, color=style.palette[6], lw=1, ls="--", zorder=1)
        left.text(epoch[-1], height + 0.004, words, ha="right", va="bottom", fontsize=9)
    left.set(xlabel="epoch", ylabel="test accuracy", ylim=(0.4, 0.9), xlim=(0, epoch[-1]))
    left.set_title(f"{len(accuracy)} seeds, the first {min(40, len(accuracy))} as thin lines")
    left.legend(loc="lower right")
    ends = np.nan_to_num(accuracy[:, -1], nan=0.5)
    right.hist(ends, bins=np.arange(0.4, 0.9, 0.02), orientation="horizontal", color=colour)
    right.set(title="at the end", xlabel="seeds")


def found_learning(tables: Tables) -> str:
    """Say how many seeds learn, how well and when."""
    one = tables["members"]
    learns, accuracy = intervals.share(one["learns"]), intervals.median(one["test_accuracy"])
    words = (
        f"{learns.value:.2f} of the seeds learn (95 % interval {learns.low:.2f} to "
        f"{learns.high:.2f}, {learns.count} seeds); the median test accuracy is "
        f"{accuracy.value:.3f}, the highest at any epoch {one['highest_accuracy'].max():.3f}."
    )
    reached = one["first_epoch"][~np.isnan(one["first_epoch"])]
    if len(reached):
        words += f" Those that pass 0.75 do so first at epoch {np.median(reached):.0f} (median)."
    late = tables["epochs"]["epoch"].max()
    if not np.array_equal(one["learns"], one["learns_late"]):
        words += f" By epoch {late:,} it is {one['learns_late'].mean():.2f}."
    return words
