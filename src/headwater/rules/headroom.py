"""How far a growing number is from its format's largest, and how many steps that leaves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from headwater.rules.passes import Floats, Ints

_T_975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
)  # fmt: skip
"""Student's t at 0.975 for 1, 2, … degrees of freedom (scipy is not loaded where runs are judged).
"""
_T_MORE = 2.086


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What a straight line through the logarithms says, with its 95 % intervals.

    Attributes:
        slope: Growth in binades (factors of 2) a step.
        slope_ends: Its interval.
        recent: The slope of the newer half alone.
        binades: From the newest to the limit.
        steps_left: Steps from the newest on until the line meets the limit; infinite if it falls.
        steps_left_ends: When the band around the line begins to meet it, and has (Fieller's
            interval); infinite while growth is not sure.
    """

    slope: float
    slope_ends: tuple[float, float]
    recent: float
    binades: float
    steps_left: float
    steps_left_ends: tuple[float, float]

    @property
    def grows(self) -> bool:
        """Whether it grows for sure, and the newer half at half that pace at least."""
        return self.slope_ends[0] > 0 and self.recent >= 0.5 * self.slope


def outlook(step: Ints, largest: Floats, limit: float) -> Outlook | None:
    """Fit the growth of a magnitude towards a limit; None with under four usable points.

    Example:
        >>> steps = np.arange(0, 80, 8)
        >>> seen = outlook(steps, 2.0 ** (steps / 8), 65504.0)
        >>> round(seen.slope, 3), round(seen.steps_left)
        (0.125, 56)
        >>> outlook(steps, np.ones(10), 65504.0).grows
        False
    """
    usable = np.isfinite(largest) & (largest > 0)
    x, y = step[usable].astype(np.float64), np.log2(largest[usable])
    if len(x) < 4 or x[0] == x[-1]:
        return None
    slope, error = _slope(x, y)
    spread = _t(len(x) - 2) * error
    gap = math.log2(limit) - float(y.mean())
    since = float(x[-1] - x.mean())
    across = float(((x - x.mean()) ** 2).sum())
    ends = _meeting(gap, slope, spread, across / len(x))
    half = len(x) // 2
    return Outlook(
        slope=slope,
        slope_ends=(slope - spread, slope + spread),
        recent=_slope(x[half:], y[half:])[0] if x[half] < x[-1] else slope,
        binades=max(0.0, math.log2(limit) - float(y[-1])),
        steps_left=max(0.0, gap / slope - since) if slope > 0 else math.inf,
        steps_left_ends=(max(0.0, ends[0] - since), max(0.0, ends[1] - since)),
    )


def _meeting(gap: float, slope: float, spread: float, square: float) -> tuple[float, float]:
    """Return where a line's band meets a limit, in steps from its middle.

    ``(gap - slope u)^2 = spread^2 (square + u^2)``, whose ``square`` is the variance of the steps.
    """
    steep = slope**2 - spread**2
    if slope <= 0 or steep <= 0:
        return math.inf, math.inf
    root = spread * math.sqrt(max(0.0, gap**2 + square * steep))
    return (slope * gap - root) / steep, (slope * gap + root) / steep


def _slope(x: Floats, y: Floats) -> tuple[float, float]:
    """Return the least squares slope and its standard error."""
    across = x - x.mean()
    square = float(across @ across)
    slope = float(across @ y) / square
    rest = y - y.mean() - slope * across
    freedom = len(x) - 2
    error = math.sqrt(float(rest @ rest) / freedom / square) if freedom > 0 else math.inf
    return slope, error


def _t(freedom: int) -> float:
    return _T_975[freedom - 1] if freedom <= len(_T_975) else _T_MORE
