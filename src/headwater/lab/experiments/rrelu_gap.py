"""RReLU's random slopes against over-fitting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from headwater.lab.claims import median, share
from headwater.lab.datasets import two_circles
from headwater.lab.draws import Initialiser, he_uniform, xavier_uniform
from headwater.lab.experiment import Experiment
from headwater.lab.pictures import Style, draw_dots
from headwater.lab.rows import Array, Rows, Tables

WORDS = {"relu": "ReLU", "leaky_relu(0.2291666667)": "Leaky, RReLU's mean slope", "rrelu": "RReLU"}
LEAKY = "leaky_relu(0.2291666667)"  # (1/8 + 1/3) / 2, the slope RReLU has in evaluation


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Wide networks on few points; ``random`` is the activation said to over-fit less."""

    epochs: int = 1000
    width: int = 50
    hidden: int = 3
    points: int = 60
    rate: float = 0.05
    random: str = "rrelu"


def measure(settings: Settings, seeds: Array) -> Tables:
    """Train on a few of the points and return losses and accuracies on both halves."""
    parts = [_trained(arm, settings, seeds) for arm in WORDS]
    gap = {part["arm"][0]: part["test_loss"] for part in parts}
    pairs = Rows.of(seed=seeds, less=gap["rrelu"] < gap[LEAKY])
    return {"members": Rows.joined(parts), "pairs": pairs}


def _trained(arm: str, settings: Settings, seeds: Array) -> Rows:
    from headwater.lab import ensemble

    split, few = two_circles(), settings.points
    history = ensemble.train(
        ensemble.Network(
            widths=(2, *[settings.width] * settings.hidden, 1),
            activation=settings.random if arm == "rrelu" else arm,
        ),
        ensemble.Members(
            seeds=seeds, initialiser=Initialiser(hidden=he_uniform(), output=xavier_uniform())
        ),
        ensemble.Data(
            x=split.train_x[:few], y=split.train_y[:few], test_x=split.test_x, test_y=split.test_y
        ),
        ensemble.Training(
            epochs=settings.epochs, optimiser=ensemble.sgd(settings.rate, momentum=0.9)
        ),
        record=ensemble.Record(losses=settings.epochs),
    )
    losses = history.losses
    return Rows.of(
        arm=arm,
        seed=seeds,
        train_loss=losses.train_loss[:, -1],
        test_loss=losses.test_loss[:, -1],
        train_accuracy=losses.train_accuracy[:, -1],
        test_accuracy=losses.test_accuracy[:, -1],
    )


def draw(tables: Tables, figure: Any, style: Style) -> None:
    """Draw losses on both halves, a dot a seed."""
    left, right = figure.subplots(1, 2)
    for at, arm in enumerate(WORDS):
        rows = tables["members"].where(arm=arm)
        draw_dots(left, at, rows["train_loss"], style.palette[at])
        draw_dots(right, at, rows["test_loss"], style.palette[at])
    for one, words in ((left, "Training points"), (right, "Test points")):
        one.set(title=words, xticks=range(len(WORDS)), yscale="log")
        one.set_xticklabels(["ReLU", "Leaky", "RReLU"])
    left.set_ylabel("cross-entropy (nats)")


def found(tables: Tables) -> str:
    """Say the losses on both halves."""
    lines = [
        "| activation | train loss | test loss | train accuracy | test accuracy |",
        "| --- |" + " --- |" * 4,
    ]
    for arm, name in WORDS.items():
        rows = tables["members"].where(arm=arm)
        cells = [
            f"{np.nanmedian(rows[c]):.3g}"
            for c in ("train_loss", "test_loss", "train_accuracy", "test_accuracy")
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    less = tables["pairs"]["less"].mean()
    return "\n".join(
        [
            *lines,
            "",
            f"From the same weights RReLU has the smaller test loss than "
            f"Leaky in {less:.2f} of the seeds.",
        ]
    )


EXPERIMENT = Experiment(
    name="rrelu-overfits-less",
    claim="Trained on few points, RReLU has the smaller test loss than Leaky ReLU of its mean "
    "slope, in most seeds.",
    settings=Settings(),
    measure=measure,
    assertions=(
        share("RReLU's test loss is smaller, same seed", "less", 0.7, 1.0, table="pairs"),
        median("Leaky: training accuracy", "train_accuracy", 0.9, 1.0, arm=LEAKY),
    ),
    draw=draw,
    found=found,
    literature=(
        "Xu, Wang, Chen and Li (2015), arXiv:1505.00853: on small data sets RReLU's training error "
        "is higher and its test error lower than those of other rectifiers, which they take as a "
        "sign that its randomness reduces over-fitting."
    ),
    fragile=(
        "The claim is about loss. Accuracy on noisy circles hardly tells over-fitting, as "
        "confident mistakes cost no more than others."
    ),
    size=(9.0, 4.2),
)
