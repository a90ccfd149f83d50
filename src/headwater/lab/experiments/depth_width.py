"""How deep a network of five or twenty-five units a layer still learns, in three classic ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from headwater.lab import intervals
from headwater.lab.circles import Circles, Weights, members, train_circles
from headwater.lab.claims import share
from headwater.lab.experiment import Experiment
from headwater.lab.pictures import Style, draw_legend
from headwater.lab.rows import Array, Rows, Tables

ARMS: Mapping[str, Circles] = {
    "tanh, U[0, 1]": Circles(),
    "tanh, Xavier": Circles(weights="xavier"),
    "ReLU, He": Circles(activation="relu", weights="he"),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Depths and widths; ``relu_weights`` draws the ReLU networks."""

    epochs: int = 500
    depths: tuple[int, ...] = (1, 2, 3, 5, 7, 10, 15, 20)
    widths: tuple[int, ...] = (5, 25)
    relu_weights: Weights = "he"


def measure(settings: Settings, seeds: Array) -> Tables:
    """Train every shape in every way."""
    found = []
    for width in settings.widths:
        for hidden in settings.depths:
            for arm, way in ARMS.items():
                drawn = settings.relu_weights if way.activation == "relu" else way.weights
                one = replace(
                    way, hidden=hidden, width=width, epochs=settings.epochs, weights=drawn, every=20
                )
                history = train_circles(one, seeds)
                found.append(members(one, history, arm=arm, hidden=hidden, width=width))
    return {"members": Rows.joined(found)}


def draw(tables: Tables, figure: Any, style: Style) -> None:
    """Draw the share that learns by depth, one panel a width."""
    rows = tables["members"]
    axes = figure.subplots(1, 2, sharey=True)
    for one, width in zip(axes, rows.distinct("width"), strict=False):
        for arm, colour in zip(
            ARMS, (style.palette[1], style.palette[0], style.palette[2]), strict=True
        ):
            here = rows.where(arm=arm, width=width)
            depths = here.distinct("hidden")
            shares = [intervals.share(here.where(hidden=depth)["learns"]) for depth in depths]
            one.fill_between(
                depths,
                [s.low for s in shares],
                [s.high for s in shares],
                color=colour,
                alpha=0.15,
                lw=0,
            )
            one.plot(depths, [s.value for s in shares], "o-", color=colour, label=arm)
        one.set(
            title=f"{width} units a layer",
            xlabel="hidden layers",
            ylim=(-0.03, 1.03),
            xticks=rows.distinct("hidden"),
        )
    axes[0].set_ylabel("share that learns (band: 95 % interval)")
    draw_legend(axes[1], loc="center right")


def found(tables: Tables) -> str:
    """Say the share that learns for every shape."""
    rows = tables["members"]
    depths = rows.distinct("hidden")
    lines = [
        f"| units, way | {' | '.join(f'depth {d}' for d in depths)} |",
        "| --- |" + " --- |" * len(depths),
    ]
    for width in rows.distinct("width"):
        for arm in ARMS:
            here = rows.where(arm=arm, width=width)
            cells = [f"{np.mean(here.where(hidden=d)['learns']):.2f}" for d in depths]
            lines.append(f"| {width}, {arm} | {' | '.join(cells)} |")
    return "\n".join(lines)


EXPERIMENT = Experiment(
    name="depth-and-width",
    claim="With five units a layer ReLU with He's weights fails beyond ten layers as tanh from "
    "U[0, 1] does beyond two; width helps ReLU, not U[0, 1].",
    settings=Settings(),
    measure=measure,
    assertions=(
        share(
            "ReLU, He, 5 units, 5 layers: learns",
            "learns",
            0.85,
            1.0,
            arm="ReLU, He",
            width=5,
            hidden=5,
        ),
        share(
            "ReLU, He, 5 units, 15 layers: learns",
            "learns",
            0.18,
            0.46,
            arm="ReLU, He",
            width=5,
            hidden=15,
        ),
        share(
            "ReLU, He, 5 units, 20 layers: learns",
            "learns",
            0.03,
            0.22,
            arm="ReLU, He",
            width=5,
            hidden=20,
        ),
        share(
            "ReLU, He, 25 units, 20 layers: learns",
            "learns",
            0.85,
            1.0,
            arm="ReLU, He",
            width=25,
            hidden=20,
        ),
        share(
            "tanh, U[0, 1], 5 units, 1 layer: learns",
            "learns",
            0.95,
            1.0,
            arm="tanh, U[0, 1]",
            width=5,
            hidden=1,
        ),
        share(
            "tanh, U[0, 1], 5 units, 5 layers: learns",
            "learns",
            0.0,
            0.2,
            arm="tanh, U[0, 1]",
            width=5,
            hidden=5,
        ),
        share(
            "tanh, U[0, 1], 25 units, 5 layers: learns",
            "learns",
            0.0,
            0.2,
            arm="tanh, U[0, 1]",
            width=25,
            hidden=5,
        ),
        share(
            "tanh, Xavier, 5 units, 5 layers: learns",
            "learns",
            0.97,
            1.0,
            arm="tanh, Xavier",
            width=5,
            hidden=5,
        ),
    ),
    draw=draw,
    found=found,
    literature=(
        "Brownlee's tutorial ends with the questions what more layers and more units would do. "
        "Hanin and Rolnick (2018), arXiv:1803.01719: with He's weights failure modes grow with the "
        "sum of one over the widths, so depth hurts narrow ReLU networks and not wide ones."
    ),
    fragile=(
        "All at one learning rate: deeper networks are helped by smaller steps. Sixty seeds tell "
        "shares apart by about 0.2."
    ),
    slow=True,
    seeds=60,
    block=30,
    size=(11.0, 4.5),
)
