"""The picture of ``headwater theory``: the function, the phases, the gradient by depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from headwater.cli.theory_numbers import Question
from headwater.errors import NotCoveredError, UsageError
from headwater.theory.criticality import CriticalPoint, critical_line, critical_points
from headwater.theory.precision import number_format

# The Okabe-Ito palette, which colour-blind readers can tell apart.
BLUE, ORANGE, GREEN, GREY, RED = "#0072B2", "#E69F00", "#009E73", "#777777", "#D55E00"


def draw(question: Question, path: Path) -> None:
    """Write the picture in the format that the file's name says.

    Raises:
        UsageError: matplotlib is missing, or cannot write there.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError("--plot needs matplotlib: pip install 'headwater[plot]'") from error
    figure = Figure(figsize=(13.0, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3)
    _draw_function(left, question)
    _draw_phases(middle, question)
    _draw_gradient(right, question)
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise UsageError(f"--plot cannot write {str(path)!r}: {error}") from error


def _draw_function(axes: Any, question: Question) -> None:
    phi = question.activation
    reach = max(4.0, *(abs(kink) + 2 for kink in phi.kinks)) if phi.kinks else 4.0
    x = np.unique(np.concatenate([np.linspace(-reach, reach, 801), *_sides(phi.kinks)]))
    axes.axhline(0, color=GREY, lw=0.6)
    axes.plot(x, phi.function(x), color=BLUE, lw=2, label=f"{phi.name}(x)")
    axes.plot(x, phi.derivative(x), color=ORANGE, lw=2, label="derivative")
    axes.set(title="Function and derivative", xlabel="x", xlim=(-reach, reach))
    axes.legend(frameon=False)


def _draw_phases(axes: Any, question: Question) -> None:
    weight, bias = question.sigma_w**2, question.sigma_b**2
    # Where the line starts at a large variance, as sigmoid's does, biases have to be large, too.
    starts = [point.variance for point in critical_points(question.activation)]
    top = max(1.0, 1.6 * bias, *(start / 4 for start in starts))
    points = _line(question)
    seen = [p.weight_variance for p in points if 0 <= p.bias_variance <= top]
    for stable, style, words in ((True, "-", "critical"), (False, "--", "critical but unstable")):
        x = [p.weight_variance if p.stable is stable else np.nan for p in points]
        if not all(np.isnan(x)):
            y = [p.bias_variance for p in points]
            axes.plot(x, y, style, color=GREEN, lw=2, label=f"{words} line")
    if question.activation.homogeneous:
        critical = critical_line(question.activation, 1.0).weight_variance
        axes.axvline(critical, color=GREEN, lw=2, label="critical line")
        seen = [critical]
    axes.plot([weight], [bias], "o", color=RED, ms=9, clip_on=False, zorder=5, label="this network")
    right = 1.6 * max([weight, *seen])
    axes.set(
        title="Phases: ordered left, chaotic right of the line",
        xlabel=r"weight variance $\sigma_w^2$",
        ylabel=r"bias variance $\sigma_b^2$",
        xlim=(0, right),
        ylim=(0, top),
    )
    axes.legend(frameon=False)


def _line(question: Question) -> list[CriticalPoint]:
    points = []
    for variance in np.geomspace(1e-6, 1e4, 400):
        try:
            points.append(critical_line(question.activation, float(variance)))
        except NotCoveredError:  # beyond its reach the derivative is 0
            continue
    return [] if question.activation.homogeneous else points


def _draw_gradient(axes: Any, question: Question) -> None:
    bands = question.gradients()
    layers = np.arange(1, len(bands) + 1)
    mean = np.array([band.mean for band in bands])
    low, high = np.array([band.low for band in bands]), np.array([band.high for band in bands])
    axes.fill_between(layers, low, high, color=BLUE, alpha=0.2, lw=0, label="95 % of draws")
    axes.plot(layers, mean, color=BLUE, lw=2, label="forecast")
    axes.axhline(0, color=GREY, lw=0.6)
    bottom, top = float(np.min(low)), float(np.max(high))
    for name in question.dtypes:
        form = number_format(name)
        for level, what in ((form.smallest, "smallest"), (form.largest, "largest")):
            at = float(np.log10(level))
            if bottom - 1 <= at <= top + 1:
                axes.axhline(at, color=RED, lw=1, ls=":")
                axes.text(len(bands), at, f"{name} {what}", color=RED, ha="right", va="bottom")
    axes.set(
        title=f"Gradient by depth, {question.width} units wide",
        xlabel="layer (1 is the input's)",
        ylabel="decades, relative to the last layer",
    )
    axes.legend(frameon=False)


def _sides(kinks: tuple[float, ...]) -> list[Any]:
    return [np.array([kink - 1e-9, kink, kink + 1e-9]) for kink in kinks]
