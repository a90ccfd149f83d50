"""Regression on raw targets explodes; which remedies keep it finite, and how well they fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from headwater.lab.claims import median, share
from headwater.lab.datasets import regression
from headwater.lab.draws import Initialiser, he_uniform, xavier_uniform
from headwater.lab.experiment import Experiment
from headwater.lab.optimisers import Clip, ClipKind
from headwater.lab.pictures import Style, draw_dots, draw_legend
from headwater.lab.rows import Array, Rows, Tables


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to train: the clipping, the scale of the targets, the learning rate."""

    clip: Clip | None = None
    standardised: bool = False
    rate: float = 0.01


LIMITS: Mapping[ClipKind, tuple[float, ...]] = {
    "norm": (1, 2, 4, 8, 16, 32),
    "value": (0.5, 1, 2, 5, 8, 16, 32),
}
WORDS: Mapping[ClipKind, str] = {"norm": "clip norm", "value": "clip value"}
WAYS: Mapping[str, Way] = {
    "raw targets": Way(),
    "standardised targets": Way(standardised=True),
    "rate 0.001": Way(rate=0.001),
    "clip norm per tensor 1": Way(clip=Clip(kind="norm_per_tensor", limit=1.0)),
    **{
        f"{WORDS[kind]} {limit:g}": Way(clip=Clip(kind=kind, limit=limit))
        for kind, limits in LIMITS.items()
        for limit in limits
    },
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Which ways are trained; ``divisor`` scales the targets of all of them down."""

    epochs: int = 100
    ways: tuple[str, ...] = tuple(WAYS)
    divisor: float = 1.0


def measure(settings: Settings, seeds: Array) -> Tables:
    """Train every way and return errors in the targets' own units, and who stayed finite."""
    return {"members": Rows.joined([_trained(name, settings, seeds) for name in settings.ways])}


def _trained(name: str, settings: Settings, seeds: Array) -> Rows:
    from headwater.lab import ensemble

    way, split = WAYS[name], regression()
    scale = float(split.train_y.std()) if way.standardised else settings.divisor
    shift = float(split.train_y.mean()) if way.standardised else 0.0
    history = ensemble.train(
        ensemble.Network(widths=(20, 25, 1), activation="relu", loss="mse"),
        ensemble.Members(
            seeds=seeds, initialiser=Initialiser(hidden=he_uniform(), output=xavier_uniform())
        ),
        ensemble.Data(
            x=split.train_x,
            y=(split.train_y - shift) / scale,
            test_x=split.test_x,
            test_y=(split.test_y - shift) / scale,
        ),
        ensemble.Training(
            epochs=settings.epochs, optimiser=ensemble.sgd(way.rate, momentum=0.9), clip=way.clip
        ),
        record=ensemble.Record(losses=settings.epochs, steps=1),
    )
    assert history.steps is not None
    first = history.first_non_finite.astype(float)
    return Rows.of(
        way=name,
        seed=seeds,
        finite=history.finite,
        first_non_finite=np.where(first > 0, first, np.nan),
        first_norm=history.steps.gradient_norm[:, 0],
        train_mse=history.losses.train_loss[:, -1] * scale**2,
        test_mse=history.losses.test_loss[:, -1] * scale**2,
    )


def draw(tables: Tables, figure: Any, style: Style) -> None:
    """Draw the test error by the clip's limit, and the first gradient's norm."""
    left, right = figure.subplots(1, 2, width_ratios=[1.7, 1])
    _draw_errors(left, tables, style)
    _draw_norms(right, tables, style)


def _draw_errors(left: Any, tables: Tables, style: Style) -> None:
    """The test error by the clip's limit."""
    rows = tables["members"]
    for kind, colour in zip(LIMITS, style.palette, strict=False):
        limits = [x for x in LIMITS[kind] if f"{WORDS[kind]} {x:g}" in rows.distinct("way")]
        if not limits:
            continue
        errors = [rows.where(way=f"{WORDS[kind]} {x:g}")["test_mse"] for x in limits]
        ends = np.array([np.nanpercentile(e, [10, 50, 90]) for e in errors])
        left.fill_between(limits, ends[:, 0], ends[:, 2], color=colour, alpha=0.2, lw=0)
        left.plot(limits, ends[:, 1], "o-", color=colour, label=f"{WORDS[kind]}, rate 0.01")
    for way, colour in (
        ("rate 0.001", style.palette[2]),
        ("standardised targets", style.palette[3]),
    ):
        if way in rows.distinct("way"):
            left.axhline(
                np.nanmedian(rows.where(way=way)["test_mse"]),
                color=colour,
                ls="--",
                label=f"{way}, no clipping",
            )
    left.set(
        xscale="log",
        yscale="log",
        xlabel="limit of the clip",
        ylabel="test mean squared error",
        title="After 100 epochs (median, 10 to 90 % of the seeds)",
    )
    draw_legend(left)


def _draw_norms(right: Any, tables: Tables, style: Style) -> None:
    """The gradient's norm at the first step."""
    rows = tables["members"]
    for at, (way, colour) in enumerate(
        (("raw targets", style.palette[1]), ("standardised targets", style.palette[3]))
    ):
        if way in rows.distinct("way"):
            draw_dots(right, at, rows.where(way=way)["first_norm"], colour, spread=0.5)
    right.set(
        yscale="log",
        title="Gradient's norm at the first step",
        xlim=(-0.6, 1.6),
        xticks=[0, 1],
        ylabel="norm",
    )
    right.set_xticklabels(["raw targets", "standardised"])


def found(tables: Tables) -> str:
    """Say which way stayed finite, and how well it fits."""
    rows = tables["members"]
    lines = [
        "| way | stays finite | gradient at first | train MSE | test MSE |",
        "| --- |" + " --- |" * 4,
    ]
    for way in rows.distinct("way"):
        one = rows.where(way=way)
        errors = [
            "-" if not one["finite"].any() else f"{np.nanmedian(one[c]):.3g}"
            for c in ("train_mse", "test_mse")
        ]
        first = f"{np.median(one['first_norm']):.3g}"
        lines.append(f"| {way} | {one['finite'].mean():.2f} | {first} | {' | '.join(errors)} |")
    steps = rows.where(way="raw targets")["first_non_finite"]
    if np.isfinite(steps).any():
        low, high = int(np.nanmin(steps)), int(np.nanmax(steps))
        lines += ["", f"On raw targets the first step that is not finite is step {low} to {high}."]
    return "\n".join(lines)


TEST_MSE: Mapping[ClipKind, tuple[float, ...]] = {
    "norm": (19.5, 9.6, 8.3, 8.3, 15.7, 55.9),
    "value": (10.8, 18.8, 38, 45, 68, 214, 828),
}


def _bands() -> Any:
    yield share("raw targets: stays finite", "finite", 0.0, 0.0, way="raw targets")
    yield median(
        "raw targets: first step that is not finite", "first_non_finite", 7, 11, way="raw targets"
    )
    yield median(
        "raw targets: gradient's norm at step 1", "first_norm", 270, 710, way="raw targets"
    )
    yield median(
        "standardised targets: gradient's norm at step 1",
        "first_norm",
        3.5,
        14,
        way="standardised targets",
    )
    for way in (
        "clip norm 1",
        "clip norm per tensor 1",
        "clip value 5",
        "standardised targets",
        "rate 0.001",
    ):
        yield share(f"{way}: stays finite", "finite", 1.0, 1.0, way=way)
    yield median("rate 0.001: test error", "test_mse", 1.8, 7.4, way="rate 0.001")
    for kind, errors in TEST_MSE.items():
        for limit, error in zip(LIMITS[kind], errors, strict=True):
            way = f"{WORDS[kind]} {limit:g}"
            yield median(f"{way}: test error", "test_mse", error / 2, error * 2, way=way)


EXPERIMENT = Experiment(
    name="exploding-regression",
    claim="On raw targets the network is not finite within a dozen steps; clipping, scaled targets "
    "or a smaller rate keep it finite, the smaller rate fitting best.",
    settings=Settings(),
    measure=measure,
    assertions=tuple(_bands()),
    draw=draw,
    found=found,
    literature=(
        "Pascanu, Mikolov and Bengio (2013), arXiv:1211.5063, propose clipping by norm. Brownlee, "
        "*How to Avoid Exploding Gradients With Gradient Clipping*, shows NaN on "
        "`make_regression` and clips by norm 1.0 or by value 5.0."
    ),
    fragile=(
        "With targets of deviation 150 every step hits the limit, so clipping by norm is "
        "normalised gradient descent, and its limit a second learning rate: the error has a "
        "minimum over it. Frameworks differ in what clipping by norm means: Keras 3's `clipnorm` "
        "is per variable."
    ),
    size=(11.0, 4.8),
)
