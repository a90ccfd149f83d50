"""How far gradients differ from draw to draw: depth over width."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from headwater.lab import intervals
from headwater.lab.claims import mean
from headwater.lab.experiment import Experiment
from headwater.lab.pictures import Style, draw_dots
from headwater.lab.rows import Array, Rows, Tables
from headwater.theory.fluctuation import relu_layer

SHAPES: Mapping[str, tuple[int, ...]] = {
    "5 layers of 50": (50,) * 5,
    "5 layers of 20": (20,) * 5,
    "20 layers of 50": (50,) * 20,
    "5 layers of 10": (10,) * 5,
    "50 and 10 in turn, 10": (50, 10) * 5,
    "20 layers of 20": (20,) * 20,
    "40 layers of 30": (30,) * 40,
    "10 layers of 6": (6,) * 10,
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """``slope`` is the activation's below zero: 0 for ReLU, 1 for a linear network."""

    slope: float = 0.0


def measure(settings: Settings, seeds: Array) -> Tables:
    """Draw a He network of every seed and shape; return the logarithm of its gradient's norm."""
    parts = []
    for name, widths in SHAPES.items():
        logs = np.array([_log_gain(widths, settings.slope, int(seed)) for seed in seeds])
        layers = [relu_layer(n) for n in widths]
        middle, variance = sum(one.mean for one in layers), sum(one.variance for one in layers)
        # A dead network has no logarithm; the law is that of the living.
        ratio = np.where(np.isfinite(logs), (logs - middle) ** 2 / variance, np.nan)
        parts.append(
            Rows.of(
                shape=name,
                seed=seeds,
                log_square=logs,
                inverse_widths=sum(1 / n for n in widths),
                theory_variance=variance,
                ratio=ratio,
            )
        )
    return {"members": Rows.joined(parts)}


def _log_gain(widths: tuple[int, ...], slope: float, seed: int) -> float:
    """Return ln of |J^T u|^2 over |u|^2, from a random u at the output back to the input."""
    stream = np.random.default_rng([seed, len(widths), widths[0]])
    # As many inputs as outputs: then the ends of the product are a layer's, too.
    size = (widths[-1], *widths)
    x, layers = stream.standard_normal(size[0]), []
    for fan_in, fan_out in zip(size, widths, strict=False):
        deviation = np.sqrt(2 / (fan_in * (1 + slope**2)))
        weight = stream.normal(0, deviation, (fan_out, fan_in))
        z = weight @ x
        mask = np.where(z > 0, 1.0, slope)
        layers.append((weight, mask))
        x = z * mask
    u = stream.standard_normal(widths[-1])
    start = np.linalg.norm(u)
    for weight, mask in reversed(layers):
        u = weight.T @ (mask * u)
    with np.errstate(divide="ignore"):
        return float(2 * np.log(np.linalg.norm(u) / start))


def draw(tables: Tables, figure: Any, style: Style) -> None:
    """Draw each shape's distribution, and the variance against depth over width."""
    left, right = figure.subplots(1, 2)
    _draw_draws(left, tables["members"], style)
    _draw_variances(right, tables["members"], style)


def _draw_draws(left: Any, rows: Rows, style: Style) -> None:
    """A dot a draw."""
    for at, shape in enumerate(SHAPES):
        logs = rows.where(shape=shape)["log_square"] / (2 * np.log(10))
        draw_dots(left, at, logs, style.palette[at % 6], spread=0.6)
    left.set(
        title="Gradient's norm, input over output, a dot a draw",
        ylabel="decades (log10)",
        xticks=range(len(SHAPES)),
    )
    left.set_xticklabels(SHAPES, rotation=35, ha="right")


def _draw_variances(right: Any, rows: Rows, style: Style) -> None:
    """Measured and predicted variances."""
    for at, shape in enumerate(SHAPES):
        here = rows.where(shape=shape)
        one, theory = intervals.mean(_numbers(here["ratio"])), here["theory_variance"][0]
        x = here["inverse_widths"][0]
        colour = style.palette[at % 6]
        right.plot([x, x], [one.low * theory, one.high * theory], color=colour, lw=1.5)
        right.plot(x, one.value * theory, "o", color=colour, ms=7)
        right.plot(
            x,
            theory,
            "_",
            color=style.ink,
            ms=14,
            mew=2,
            label="theory, exact" if at == 0 else None,
        )
    x = np.linspace(0.08, 2, 50)
    right.plot(
        x, 5 * x, color=style.palette[6], lw=1, ls="--", label="5 times the sum of 1 / width"
    )
    right.set(
        title="Variance of ln |gradient|^2 (95 % interval)",
        xscale="log",
        yscale="log",
        xlabel="sum over layers of 1 / width",
        ylabel="variance",
    )
    right.legend()


def _numbers(values: Array) -> Array:
    kept: Array = values[~np.isnan(values)]
    return kept


def found(tables: Tables) -> str:
    """Say the measured variance beside the theory's."""
    lines = [
        "| shape | sum of 1 / width | variance of ln of the square | theory |",
        "| --- | --- | --- | --- |",
    ]
    for shape in SHAPES:
        here = tables["members"].where(shape=shape)
        theory = float(here["theory_variance"][0])
        measured = float(_numbers(here["ratio"]).mean()) * theory
        lines.append(
            f"| {shape} | {here['inverse_widths'][0]:.3f} | {measured:.2f} | {theory:.2f} |"
        )
    return "\n".join(lines)


EXPERIMENT = Experiment(
    name="width-fluctuation",
    claim="Gradients of He-ReLU networks differ from draw to draw by a variance of about five "
    "times the sum of 1 / width, more where layers are narrow.",
    settings=Settings(),
    measure=measure,
    assertions=tuple(
        mean(
            f"{shape}: measured variance over the theory's",
            "ratio",
            0.7,
            1.4,
            enough=200,
            shape=shape,
        )
        for shape in SHAPES
    ),
    draw=draw,
    found=found,
    literature=(
        "Hanin (2018), arXiv:1801.03744, *Which Neural Net Architectures Give Rise to Exploding "
        "and Vanishing Gradients?*: the sum of 1 / width over the layers decides. Hanin and Nica "
        "(2020), arXiv:1812.05994, give the law: normal, of variance 5 times that sum."
    ),
    fragile=(
        "Five is the leading order; layers of five to ten units have nearly twice that, and the "
        "exact figure of `headwater.theory.fluctuation` is what is tested. Dead networks are left "
        "out."
    ),
    seeds=400,
    block=100,
    size=(11.0, 5.0),
)
