"""How the laboratory's pictures look: light and dark, seeds thin and their median thick."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from headwater.errors import MissingExtraError
from headwater.lab.intervals import Estimate
from headwater.lab.rows import Array

DPI = 110
MOST_LINES = 40  # more thin lines only blacken the band


@dataclass(frozen=True, kw_only=True)
class Style:
    """Colours of one variant, after Okabe and Ito, which colour-blind readers can tell apart.

    Attributes:
        name: ``light`` or ``dark``; it ends the file's name.
        paper: Background.
        ink: Text and axes.
        faint: Grid, and lines that only guide the eye.
        palette: Colours of the data, in order.
        heat: Name of matplotlib's colour map for shares.
    """

    name: str
    paper: str
    ink: str
    faint: str
    palette: tuple[str, ...]
    heat: str = "viridis"

    def settings(self) -> Any:
        """Return matplotlib's settings for it."""
        return {
            "figure.facecolor": self.paper,
            "savefig.facecolor": self.paper,
            "axes.facecolor": self.paper,
            "axes.edgecolor": self.ink,
            "axes.labelcolor": self.ink,
            "axes.titlecolor": self.ink,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "axes.labelsize": 10,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "grid.color": self.faint,
            "grid.linewidth": 0.5,
            "text.color": self.ink,
            "xtick.color": self.ink,
            "ytick.color": self.ink,
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
            "legend.frameon": False,
            "legend.fontsize": 9,
            "lines.linewidth": 2.0,
            "font.size": 10,
            "svg.hashsalt": "headwater",
        }


LIGHT = Style(
    name="light",
    paper="#ffffff",
    ink="#1f2328",
    faint="#d8dee4",
    palette=("#0072B2", "#D55E00", "#009E73", "#AA4499", "#E69F00", "#56B4E9", "#777777"),
)
DARK = Style(
    name="dark",
    paper="#0d1117",
    ink="#e6edf3",
    faint="#30363d",
    palette=("#56B4E9", "#FF8F4D", "#2BD4A0", "#E78AC3", "#F2C14E", "#A6D8FF", "#9AA4AE"),
)
STYLES = (LIGHT, DARK)


def save_pictures(
    draw: Callable[[Any, Style], None], folder: Path, name: str, size: tuple[float, float]
) -> list[Path]:
    """Draw both variants and return their files, ``NAME-light.png`` and ``NAME-dark.png``.

    Args:
        draw: Draws on a matplotlib figure, in a style.
        folder: Where the files go; it must exist.
        name: What the files' names start with.
        size: Width and height in inches.

    Raises:
        MissingExtraError: matplotlib is missing.
        OSError: A file cannot be written.
    """
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "lab", "an experiment's picture") from error
    paths = []
    for style in STYLES:
        with mpl.rc_context(style.settings()):
            figure = Figure(figsize=size, layout="constrained")
            FigureCanvasAgg(figure)
            draw(figure, style)
            paths.append(folder / f"{name}-{style.name}.png")
            _save(figure, paths[-1])
    return paths


def _save(figure: Any, path: Path) -> None:
    """Write a PNG of 256 colours: a third of the size, and nobody sees it."""
    from PIL import Image  # which matplotlib brings

    drawn = BytesIO()
    # No date and no version in the file: the same results give the same bytes.
    figure.savefig(drawn, dpi=DPI, metadata={"Software": None})
    with Image.open(drawn) as image:
        reduced = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        reduced.save(path, optimize=True)


def draw_legend(axes: Any, **where: Any) -> None:
    """Draw a legend if anything has a label: a run of a few arms may have left none."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(**where)


def draw_curves(axes: Any, x: Array, curves: Array, colour: str, label: str = "") -> None:
    """Draw seeds ``[seeds, x]`` as thin lines and their median as a thick one."""
    for curve in curves[:MOST_LINES]:
        axes.plot(x, curve, color=colour, lw=0.5, alpha=0.25, zorder=1)
    # A median is drawn where half of the seeds still have a finite value, and not beyond.
    half = np.isfinite(curves).mean(axis=0) >= 0.5
    middle = np.full(curves.shape[1], np.nan)
    middle[half] = np.nanmedian(np.where(np.isfinite(curves), curves, np.nan)[:, half], axis=0)
    axes.plot(x, middle, color=colour, lw=2.5, label=label or None, zorder=3)


def draw_shares(
    axes: Any, names: Sequence[str], shares: Sequence[Estimate], colours: Sequence[str]
) -> None:
    """Draw shares as bars from 0 to 1 with their 95 % intervals, the first on top."""
    for row, (one, colour) in enumerate(zip(shares, colours, strict=True)):
        axes.barh(row, one.value, color=colour, height=0.6, zorder=2)
        axes.plot([one.low, one.high], [row, row], color=axes.xaxis.label.get_color(), lw=1.2)
        edge = max(one.value, one.high)
        axes.text(edge + 0.02, row, f"{one.value:.2f}", va="center", fontsize=9)
    axes.set(xlim=(0, 1.12), yticks=range(len(names)), xticks=[0, 0.25, 0.5, 0.75, 1])
    axes.set_yticklabels(names)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")


def draw_dots(axes: Any, at: float, values: Array, colour: str, spread: float = 0.3) -> None:
    """Draw one dot a seed around ``at``, side by side in their order, and a bar at the median."""
    finite = np.sort(values[np.isfinite(values)])
    if len(finite) == 0:
        return
    # Golden-ratio steps spread the dots evenly without a random draw.
    offsets = (np.arange(len(finite)) * 0.6180339887 % 1 - 0.5) * spread
    axes.plot(at + offsets, finite, ".", color=colour, ms=4, alpha=0.5, mew=0, zorder=2)
    middle = float(np.median(finite))
    axes.plot([at - 0.32, at + 0.32], [middle, middle], color=colour, lw=3, zorder=3)
