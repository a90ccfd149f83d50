"""How far steps go against the curvature along them, from the gradients before and after.

An update ``d`` leaves from the slope ``g.d`` and arrives at ``h.d``. The share of the slope that it
took away, ``(g.d - h.d) / g.d``, is its length over the one that reaches the bottom of the valley:
a step beyond 2 arrives at a steeper slope on the other side, higher up than it left. For plain
gradient descent it is the learning rate times the secant curvature ``(h - g).d / d.d``. Batches
that agree in nothing read 1, whatever the rate is: ``h.d`` is then 0.

Source: LeCun et al. (1998), Efficient BackProp, section 4.6; Nocedal and Wright (2006), Numerical
optimization, equation 6.6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from headwater.rules.facts import Pulse
    from headwater.rules.passes import Floats


@dataclass(frozen=True, kw_only=True)
class CurvatureLimits:
    """When a step was too long for the curvature along it."""

    # On a parabola a step beyond twice the length to its bottom ends higher than it began. Healthy
    # trainings of the corpus's tune half have medians of 1.6 at most.
    overshoots: float = 2.0
    # As everywhere: three samples outvote one odd batch.
    least_pairs: int = 3


LIMITS = CurvatureLimits()


def slopes_taken(pulse: Pulse) -> Floats:
    """Return, of every sampled update whose next gradient is known, the share of its slope taken.

    Updates that did not go downhill are left out: momentum carries some uphill.
    """
    found = []
    left: dict[int, float] = {}
    for optimiser, slope, after in zip(
        pulse.optimiser.tolist(), pulse.slope.tolist(), pulse.slope_after.tolist(), strict=True
    ):
        before = left.pop(optimiser, np.nan)
        if np.isfinite(after) and before < 0:
            found.append((before - after) / before)
        left[optimiser] = slope
    return np.array(found, dtype=np.float64)


def step_times_curvature(pulse: Pulse) -> float:
    """Return the median share of the slope that steps took away, NaN where too few are known."""
    taken = slopes_taken(pulse)
    return float(np.median(taken)) if len(taken) >= LIMITS.least_pairs else float("nan")


def of_curvature(pulse: Pulse) -> dict[str, float | str]:
    """Return what is known of steps against curvature, as evidence of a finding."""
    taken = step_times_curvature(pulse)
    if not np.isfinite(taken):
        return {}
    return {"step_times_curvature": taken, "step_times_curvature_limit": LIMITS.overshoots}
