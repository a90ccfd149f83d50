"""Which layers' weights move in training, and which stand still."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from headwater.lab.circles import Circles, Weights, members, train_circles
from headwater.lab.claims import median
from headwater.lab.experiment import Experiment
from headwater.lab.history import History
from headwater.lab.pictures import Style
from headwater.lab.rows import Array, Rows, Tables

HIDDEN = 7
ARMS = ("tanh, U[0, 1], SGD", "ReLU, He, SGD", "tanh, Xavier, SGD", "tanh, U[0, 1], Adam")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Seven hidden layers of five units; ``stuck`` draws the arm that is said not to move."""

    epochs: int = 500
    stuck: Weights = "uniform"


def measure(settings: Settings, seeds: Array) -> Tables:
    """Train four ways and return how far each layer's weights came, and each unit's L1 norm."""
    epochs = settings.epochs
    ways = (
        Circles(weights=settings.stuck, hidden=HIDDEN, epochs=epochs),
        Circles(activation="relu", weights="he", hidden=HIDDEN, epochs=epochs),
        Circles(weights="xavier", hidden=HIDDEN, epochs=epochs),
        Circles(optimiser="adam", rate=0.001, hidden=HIDDEN, epochs=epochs),
    )
    found = [train_circles(way, seeds, weights=20) for way in ways]
    arms = list(zip(ARMS, ways, found, strict=True))
    return {
        "members": Rows.joined([_ended(arm, way, history) for arm, way, history in arms]),
        "layers": Rows.joined([_moved(arm, history) for arm, _, history in arms]),
        "units": Rows.joined([_norms(arm, history) for arm, _, history in arms]),
    }


def _ended(arm: str, way: Circles, history: History) -> Rows:
    moved = history.relative_change()
    with np.errstate(divide="ignore", invalid="ignore"):  # 0/0 of a dead network is NaN
        hidden = np.median(moved[:, :-1], axis=1) / moved[:, -1]
    return Rows.of(**members(way, history, arm=arm).columns, hidden_to_output=hidden)


def _moved(arm: str, history: History) -> Rows:
    moved = history.relative_change()
    layers = moved.shape[1]
    return Rows.of(
        arm=arm,
        seed=np.repeat(history.seeds, layers),
        layer=np.tile(np.arange(1, layers + 1), len(history)),
        change=moved.ravel(),
    )


def _norms(arm: str, history: History) -> Rows:
    assert history.weights is not None
    epochs = history.weights.epochs
    norms = np.concatenate(history.weights.l1, axis=2)  # members, epochs, units of all layers
    layer = np.concatenate([[k + 1] * x.shape[2] for k, x in enumerate(history.weights.l1)])
    count, times, units = norms.shape
    return Rows.of(
        arm=arm,
        seed=np.repeat(history.seeds, times * units),
        epoch=np.tile(np.repeat(epochs, units), count),
        layer=np.tile(layer, count * times),
        unit=np.tile(np.arange(units), count * times),
        l1=norms.ravel().astype(np.float32),
    )


def draw(tables: Tables, figure: Any, style: Style) -> None:
    """Draw the L1 norms of one seed's units by epoch, and the change by layer over all seeds."""
    axes = figure.subplots(2, 4, height_ratios=[1.2, 1], sharey="row")
    seed = tables["units"]["seed"].min()
    for (top, bottom), arm in zip(axes.T, ARMS, strict=True):
        rows = tables["units"].where(arm=arm, seed=seed)
        for unit in rows.distinct("unit"):
            one = rows.where(unit=unit)
            layer = int(one["layer"][0])
            shade = style.palette[1] if layer > HIDDEN else style.palette[0]
            alpha = 1.0 if layer > HIDDEN else 0.3 + 0.6 * (layer - 1) / HIDDEN
            top.plot(one["epoch"], one["l1"], color=shade, alpha=alpha, lw=1.1)
        top.set(title=arm, xlabel="epoch")
        moved = tables["layers"].where(arm=arm)
        for layer in moved.distinct("layer"):
            change = moved.where(layer=layer)["change"]
            colour = style.palette[1] if layer > HIDDEN else style.palette[0]
            low, middle, high = np.nanpercentile(change, [10, 50, 90])
            bottom.plot([layer, layer], [low, high], color=colour, lw=1.2)
            bottom.plot(layer, middle, "o", color=colour, ms=6)
        bottom.set(yscale="log", xlabel="layer (8 is the output)", xticks=range(1, HIDDEN + 2))
    axes[0, 0].set_ylabel(f"L1 norm of a unit's weights, seed {seed}")
    axes[1, 0].set_ylabel("relative change, all seeds\n(median, 10 to 90 %)")


def found(tables: Tables) -> str:
    """Say how far every layer came."""
    heads = [*map(str, range(1, HIDDEN + 1)), f"{HIDDEN + 1} (output)", "learns"]
    lines = [
        "Relative change of a layer's weights, |W - W_0| / |W_0| in L1 norms, medians:",
        "",
        f"| layer | {' | '.join(heads)} |",
        f"| --- |{' --- |' * len(heads)}",
    ]
    for arm in ARMS:
        rows = tables["layers"].where(arm=arm)
        cells = [f"{np.median(rows.where(layer=k)['change']):.2g}" for k in rows.distinct("layer")]
        learns = tables["members"].where(arm=arm)["learns"].mean()
        lines.append(f"| {arm} | {' | '.join(cells)} | {learns:.2f} |")
    return "\n".join(lines)


CHANGES = {
    ARMS[0]: ((0.24, 0.035, 0.010, 0.005, 0.007, 0.012, 0.057, 1.03), 2.0),
    ARMS[1]: ((1.27, 0.77, 0.43, 0.29, 0.19, 0.16, 0.15, 0.39), 1.5),
    ARMS[2]: ((2.88, 1.90, 1.18, 0.87, 0.69, 0.56, 0.52, 1.25), 1.5),
    ARMS[3]: ((0.21, 0.39, 0.59, 0.76, 0.84, 0.68, 0.54, 0.45), 1.5),
}


def _bands() -> Any:
    for arm, (changes, factor) in CHANGES.items():
        for layer, change in enumerate(changes, start=1):
            yield median(
                f"{arm}: change of layer {layer}",
                "change",
                change / factor,
                change * factor,
                table="layers",
                arm=arm,
                layer=layer,
            )


EXPERIMENT = Experiment(
    name="weights-that-do-not-move",
    claim="From U[0, 1] a deep tanh network moves hardly any weights but the output layer's and, "
    "a little, the first layer's.",
    settings=Settings(),
    measure=measure,
    assertions=(
        *_bands(),
        median(
            "tanh, U[0, 1]: hidden layers' change over the output's",
            "hidden_to_output",
            0.0,
            0.04,
            arm=ARMS[0],
        ),
        median(
            "ReLU, He: hidden layers' change over the output's",
            "hidden_to_output",
            0.4,
            1.2,
            arm=ARMS[1],
        ),
    ),
    draw=draw,
    found=found,
    literature=(
        "The classic pair of pictures shows the L1 norm of every unit's weights by epoch: flat "
        "lines for tanh, moving ones for ReLU, and concludes that hardly any weights change except "
        "in the output layer. That is true of layers 2 to 7; the first moves a little, as its "
        "input is not saturated."
    ),
    fragile=(
        "The classic picture starts after the first epoch and leaves the biases out; so does the "
        "L1 norm here, which starts at the first weights. A norm can stand still while weights "
        "turn: the relative change does not miss that."
    ),
    size=(12.0, 6.4),
)
