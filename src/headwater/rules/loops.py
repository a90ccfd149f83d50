"""Loops through time: what the gradient loses or gains from one call to the one before."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from headwater.rules.facts import Facts
from headwater.rules.passes import MANY_CALLS, Floats, Flow, Ints, Pass
from headwater.rules.signal import LIMITS, losses_of_signal, mostly


def in_loop(one: Pass) -> bool:
    """Say whether some weights of a pass are a loop through time."""
    return bool((one.calls[one.kind == "weights"] >= MANY_CALLS).any())


def earliest_in_loop(one: Pass) -> int:
    """Return the row of a loop through time that is furthest from the loss, -1 without a loop.

    Of the weights that the state is multiplied with, where others take in what comes at each call.
    """
    looped = (one.kind == "weights") & (one.calls >= MANY_CALLS)
    if not looped.any():
        return -1
    of_the_state = looped & np.isin(one.site, one.site[_passing(one)])
    rows = np.flatnonzero(of_the_state if of_the_state.any() else looped)
    return int(rows[np.argmax(one.weights_above[rows])])


def _passing(one: Pass) -> Ints:
    """Return the layers that pass the gradient on to another layer, not to parameters alone."""
    below = one.nearest(one.layers)[one.layers]
    return np.unique(below[below >= 0])


def lost_in_loop(facts: Facts, flow: Flow) -> Floats:
    """Return the decades lost from the loss to a loop's earliest call, one a pass; 0 without one.

    All zero unless the loss stands still for long: many tasks need no long memory, and then a loop
    that forgets is no fault.
    """
    at = [earliest_in_loop(one) for one in flow.passes]
    if not facts.trend.stalled or facts.trend.steps < LIMITS.steps_of_loop or min(at) < 0:
        return np.zeros(len(at))
    lost = [losses_of_signal(one)[row] for one, row in zip(flow.passes, at, strict=True)]
    return np.array(lost)


def forgets(lost: Floats) -> bool:
    """Say whether a loop loses its early calls in most samples and the newest."""
    return bool(mostly(lost[:, None] >= LIMITS.lost_decades)[0])


def by_lag(one: Pass) -> Floats:
    """Return the decades of the gradient at each call of a loop, from the last call to the first.

    Of the line whose first call is furthest from the loss. Empty where there is no loop.
    """
    row = earliest_in_loop(one)
    if row < 0:
        return np.zeros(0)
    calls = np.flatnonzero(one.site == one.site[row])
    levels: Floats = one.level[calls[np.argsort(one.weights_above[calls], kind="stable")]]
    return levels


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What a loop does to the gradient at each call, and what its weights do in the long run.

    Attributes:
        calls: Calls of the loop that a gradient reaches.
        factor: What is left of the gradient from one call to the one before, the geometric mean
            over the loop.
        radius: The spectral radius of the weights that the state is multiplied with; NaN where
            they are not square, as those of gated cells, or were not measured.
    """

    calls: int
    factor: float
    radius: float

    @property
    def decades(self) -> float:
        """What the gradient gains over the whole loop, from its last call to its first."""
        return (self.calls - 1) * math.log10(self.factor)

    @property
    def weights_share(self) -> float:
        """How much of the change is the weights', from 0 to 1; the rest is the activation's.

        By the linear estimate: a call multiplies by the radius and by the mean derivative.
        """
        if not math.isfinite(self.radius) or self.radius <= 0 or self.factor == 1:
            return math.nan
        return min(1.0, max(0.0, math.log(self.radius) / math.log(self.factor)))

    def words(self) -> str:
        """Return it in words: "times 0.76 a call, spectral radius 0.8"."""
        radius = f", spectral radius {self.radius:.2g}" if math.isfinite(self.radius) else ""
        return f"times {self.factor:.2g} a call{radius}"

    def numbers(self) -> dict[str, float]:
        """Return it as evidence."""
        known = {"factor_a_call": self.factor, "spectral_radius": self.radius}
        return {name: value for name, value in known.items() if math.isfinite(value)}


def pace(facts: Facts, one: Pass) -> Pace | None:
    """Return the pace of the loop of a pass, None where too few calls have a gradient to tell."""
    levels = by_lag(one)
    reached = np.flatnonzero(np.isfinite(levels))
    if len(reached) < MANY_CALLS:
        return None
    first, last = int(reached[0]), int(reached[-1])
    change = float((levels[last] - levels[first]) / (last - first))
    return Pace(calls=last - first + 1, factor=10.0**change, radius=_radius(facts, one))


def _radius(facts: Facts, one: Pass) -> float:
    """Return the largest spectral radius of the weights that pass the gradient on in a loop."""
    at = facts.movement.row(one.step)
    if at is None:
        return math.nan
    passing = set(_passing(one).tolist())
    known = facts.movement.spectral_radius[at]
    radii = [float(known[index]) for index, row in one.owners.items() if row in passing]
    return max(filter(math.isfinite, radii), default=math.nan)
