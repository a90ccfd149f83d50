"""ELU gets there in fewer epochs than ReLU."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from headwater.lab.circles import Circles, curves, members, train_circles
from headwater.lab.claims import median, share
from headwater.lab.experiment import Experiment
from headwater.lab.pictures import Style, draw_curves
from headwater.lab.rows import Array, Rows, Tables

WORDS = {"elu": "ELU", "relu": "ReLU", "leaky_relu(0.1)": "Leaky 0.1"}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Epochs, and the activation said to be fast."""

    epochs: int = 200
    fast: str = "elu"


def measure(settings: Settings, seeds: Array) -> Tables:
    """Train the three activations from He's weights; seeds are paired."""
    base = Circles(weights="he", epochs=settings.epochs, every=1)
    rows, lines = [], []
    for arm in WORDS:
        one = replace(base, activation=settings.fast if arm == "elu" else arm)
        history = train_circles(one, seeds)
        rows.append(members(one, history, arm=arm))
        lines.append(curves(history, arm=arm))
    # Who is sooner is asked seed by seed, and of the seeds in which at least one gets there.
    first = {
        arm: np.nan_to_num(part["first_epoch"], nan=np.inf)
        for arm, part in zip(WORDS, rows, strict=True)
    }
    pairs = Rows.of(seed=seeds, sooner=first["elu"] < first["relu"])
    return {"members": Rows.joined(rows), "epochs": Rows.joined(lines), "pairs": pairs}


def draw(tables: Tables, figure: Any, style: Style) -> None:
    """Draw test accuracy by epoch."""
    axes = figure.subplots()
    for arm, colour in zip(
        WORDS, (style.palette[0], style.palette[1], style.palette[2]), strict=True
    ):
        epoch, accuracy = tables["epochs"].where(arm=arm).grid("test_accuracy", "epoch")
        draw_curves(axes, epoch, accuracy, colour, WORDS[arm])
    axes.set(
        title="Two circles, five layers of five, He's weights, SGD",
        xlabel="epoch",
        ylabel="test accuracy",
        ylim=(0.4, 0.9),
        xlim=(0, epoch[-1]),
    )
    axes.legend(loc="lower right")


def found(tables: Tables) -> str:
    """Say when each gets there, and how often ELU is first."""
    words = []
    for arm, name in WORDS.items():
        first = tables["members"].where(arm=arm)["first_epoch"]
        words.append(
            f"{name} {np.nanmedian(first):.0f} ({np.isfinite(first).mean():.2f} of the seeds)"
        )
    sooner = tables["pairs"]["sooner"].mean()
    return (
        f"First epoch over 0.75, median of those that get there: {', '.join(words)}. From the same "
        f"weights ELU is sooner than ReLU in {sooner:.2f} of the seeds."
    )


EXPERIMENT = Experiment(
    name="speed-of-elu",
    claim="From the same He weights ELU passes 0.75 in fewer epochs than ReLU in most seeds.",
    settings=Settings(),
    measure=measure,
    assertions=(
        median("ELU: first epoch over 0.75", "first_epoch", 25 / 1.6, 25 * 1.6, arm="elu"),
        median("ReLU: first epoch over 0.75", "first_epoch", 30, 88, arm="relu"),
        share("ELU sooner than ReLU, same seed", "sooner", 0.75, 1.0, table="pairs"),
    ),
    draw=draw,
    found=found,
    literature=(
        "Clevert, Unterthiner and Hochreiter (2016), arXiv:1511.07289, *Fast and Accurate Deep "
        "Network Learning by Exponential Linear Units*: ELU learns faster than ReLU per epoch."
    ),
    fragile=(
        "Counted in epochs, not in seconds: an exponential costs more than a comparison. On this "
        "problem much of the difference is that ELU has no dead units in a layer of five."
    ),
)
