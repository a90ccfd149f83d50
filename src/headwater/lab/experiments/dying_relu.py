"""What kills ReLU units, and what does not bring them back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from headwater.lab import intervals
from headwater.lab.circles import Circles, members, train_circles
from headwater.lab.claims import mean, share
from headwater.lab.experiment import Experiment
from headwater.lab.pictures import Style, draw_shares
from headwater.lab.rows import Array, Rows, Tables

HE = Circles(activation="relu", weights="he")
ARMS: Mapping[str, Circles] = {
    "He": HE,
    "Xavier": replace(HE, weights="xavier"),
    "bias -1": replace(HE, bias=-1.0),
    "bias -2": replace(HE, bias=-2.0),
    "weights U[-1, 0]": replace(HE, weights="negative"),
    "rate 0.1": replace(HE, rate=0.1),
    "rate 0.3": replace(HE, rate=0.3),
    "batch norm, bias -1": replace(HE, bias=-1.0, batch_norm=True),
    "batch norm, bias -2": replace(HE, bias=-2.0, batch_norm=True),
    "batch norm, rate 0.3": replace(HE, rate=0.3, batch_norm=True),
    "batch norm, weights U[0, 1]": replace(HE, weights="uniform", batch_norm=True),
    "Leaky, rate 0.3": replace(HE, activation="leaky_relu(0.1)", rate=0.3),
    "PReLU, rate 0.3": replace(HE, activation="prelu", rate=0.3),
    "ELU, bias -2": replace(HE, activation="elu", bias=-2.0),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Which arms are trained; ``cure`` puts another bias in the place of every negative one."""

    epochs: int = 500
    arms: tuple[str, ...] = tuple(ARMS)
    cure: float | None = None


def measure(settings: Settings, seeds: Array) -> Tables:
    """Train every arm and return the dead share at first and at last, and who learns."""
    found = []
    for name in settings.arms:
        one = replace(ARMS[name], epochs=settings.epochs, every=settings.epochs)
        if settings.cure is not None and one.bias < 0:
            one = replace(one, bias=settings.cure)
        history = train_circles(one, seeds, units=settings.epochs)
        assert history.units is not None
        dead = history.units.dead.mean(axis=2)
        found.append(
            Rows.of(
                **members(one, history, arm=name).columns,
                dead_first=dead[:, 0],
                dead_last=dead[:, -1],
            )
        )
    return {"members": Rows.joined(found)}


def draw(tables: Tables, figure: Any, style: Style) -> None:
    """Draw the dead share at first and at last, and the share that learns."""
    left, right = figure.subplots(1, 2, sharey=True)
    names = tables["members"].distinct("arm")
    shares = []
    for row, name in enumerate(names):
        one = tables["members"].where(arm=name)
        first, last = one["dead_first"].mean(), np.nanmean(one["dead_last"])
        left.plot([first, last], [row, row], color=style.palette[6], lw=2)
        marks = (
            (first, "o", style.palette[5], "at first"),
            (last, "D", style.palette[1], "at last"),
        )
        for x, mark, colour, words in marks:
            left.plot(x, row, mark, color=colour, ms=8, label=words if row == 0 else None, zorder=3)
        shares.append(intervals.share(one["learns"]))
    left.set(
        title="Dead units, mean over the seeds", xlabel="share of 25 units", xlim=(-0.03, 1.03)
    )
    left.legend(loc="lower right")
    draw_shares(right, names, shares, [style.palette[0]] * len(names))
    right.set(title="Learns in 500 epochs", xlabel="share of the seeds (line: 95 % interval)")


def found(tables: Tables) -> str:
    """Say who dies, who learns, and what became infinite."""
    lines = [
        "| arm | dead at first | dead at last | learns | stays finite |",
        "| --- |" + " --- |" * 4,
    ]
    for name in tables["members"].distinct("arm"):
        one = tables["members"].where(arm=name)
        cells = [
            f"{np.nanmean(one[c].astype(float)):.2f}"
            for c in ("dead_first", "dead_last", "learns", "finite")
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


# Learning shares at rate 0.1 and under batch normalisation at rate 0.3 and from U[0, 1] are those
# of a plain stacked torch loop without the engine, of 300 seeds: 0.23, 0.61 and 0.71.
# Dead at first, dead at last, learns; None where nothing is asserted.
EXPECTED: Mapping[str, tuple[float | None, float | None, float]] = {
    "He": (0.16, 0.13, 0.93),
    "bias -1": (0.84, 0.84, 0.0),
    "bias -2": (0.98, 0.98, 0.0),
    "weights U[-1, 0]": (0.80, 0.80, 0.0),
    "rate 0.1": (0.16, 0.45, 0.25),
    "rate 0.3": (None, 0.58, 0.0),
    "batch norm, bias -1": (0.0, 0.0, 0.97),
    "batch norm, bias -2": (0.0, 0.0, 0.97),
    "batch norm, rate 0.3": (None, 0.27, 0.60),
    "batch norm, weights U[0, 1]": (None, None, 0.71),
}


def _bands() -> Any:
    for arm, (first, last, learns) in EXPECTED.items():
        for when, expected in (("first", first), ("last", last)):
            if expected is not None:
                low, high = max(0.0, expected - 0.1), min(1.0, expected + 0.1)
                yield mean(f"{arm}: dead at {when}", f"dead_{when}", low, high, arm=arm)
        low, high = max(0.0, learns - 0.15), min(1.0, learns + 0.15)
        yield share(f"{arm}: learns", "learns", low, high, arm=arm)
    yield share("PReLU, rate 0.3: stays finite", "finite", 0.05, 0.35, arm="PReLU, rate 0.3")
    for arm in ("Leaky, rate 0.3", "ELU, bias -2"):
        yield mean(f"{arm}: dead at first", "dead_first", 0.0, 0.0, arm=arm)


EXPERIMENT = Experiment(
    name="dying-relu",
    claim="Negative biases and large rates kill ReLU units for good; batch normalisation prevents "
    "the first kind, He's weights neither.",
    settings=Settings(),
    measure=measure,
    assertions=tuple(_bands()),
    draw=draw,
    found=found,
    literature=(
        "He's initialisation and batch normalisation (Ioffe and Szegedy (2015), arXiv:1502.03167) "
        "are both named as cures for dying ReLUs. Batch normalisation before the activation undoes "
        "any bias, so it cures that; it does not cure everything. He's weights set the gradient's "
        "size, not death: with zero biases a ReLU network is positively homogeneous, and the same "
        "draws die under any scale (Lu et al. (2019), arXiv:1903.06733), as the equal dead shares "
        "of He and Xavier at first show."
    ),
    fragile=(
        "A unit counts as dead if its derivative is zero for every training point. Activations "
        "that cannot die have troubles of their own: PReLU at rate 0.3 diverges in most seeds, and "
        "with bias -2 ELU learns slowly or not at all."
    ),
    size=(12.0, 6.0),
)
