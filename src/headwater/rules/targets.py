"""What the loss asks for: the targets' scale, and what a network that ignores its input would lose.

The record has them for losses that keep their targets as numbers; nothing is guessed for others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from headwater.records import Site
    from headwater.rules.passes import Floats, Flow, Pass


@dataclass(frozen=True, kw_only=True)
class TargetLimits:
    """When targets do not suit the network."""

    # Outputs start at a size of about one, and a step of a common rate moves them by a tenth.
    size: float = 10.0
    # Targets past the end of what an output can reach, in their own standard deviations: half of
    # one is past the reach of noise, and leaves a third of normal targets there.
    beyond: float = 0.5


LIMITS = TargetLimits()

RANGES: Mapping[str, tuple[float, float]] = {
    "Sigmoid": (0.0, 1.0),
    "Hardsigmoid": (0.0, 1.0),
    "Tanh": (-1.0, 1.0),
    "Relu": (0.0, math.inf),
    "Softplus": (0.0, math.inf),
}
"""What an activation can put out; others, leaky ones too, reach anything."""


@dataclass(frozen=True, kw_only=True)
class Targets:
    """The targets of one loss, over all judged passes; NaN is what no batch told.

    ``entropy`` is that of class labels, which have none of the other figures.
    """

    loss: str
    mean: float = math.nan
    variance: float = math.nan
    least: float = math.nan
    largest: float = math.nan
    entropy: float = math.nan

    @property
    def size(self) -> float:
        """Their root mean square."""
        return math.hypot(self.mean, math.sqrt(self.variance) if self.variance > 0 else 0.0)

    @property
    def chance(self) -> float:
        """The mean loss of an answer that is right on average only; NaN if not known.

        Example:
            >>> Targets(loss="MseLoss", variance=4.0).chance
            4.0
            >>> few = Targets(loss="BinaryCrossEntropy", mean=0.1, least=0.0, largest=1.0)
            >>> round(few.chance, 3)
            0.325
        """
        if self.loss == "MseLoss":
            return self.variance if self.variance > 0 else math.nan
        if self.loss.startswith("NllLoss"):
            return self.entropy if self.entropy > 0 else math.nan
        inside = self.least >= 0 and self.largest <= 1 and 0 < self.mean < 1
        if not self.loss.startswith("BinaryCrossEntropy") or not inside:
            return math.nan
        share = self.mean
        return -share * math.log(share) - (1 - share) * math.log(1 - share)

    @property
    def words(self) -> str:
        """Their mean and spread, as a reader of the finding wants them."""
        spread = f" ± {math.sqrt(self.variance):.3g}" if self.variance > 0 else ""
        return f"the targets are {self.mean:.3g}{spread}"

    def beyond(self, operation: str) -> str:
        """Say what of the targets an output activation cannot reach, "" if it can reach them."""
        low, high = RANGES.get(operation, (-math.inf, math.inf))
        room = LIMITS.beyond * (math.sqrt(self.variance) if self.variance > 0 else math.inf)
        below, above = low - self.least, self.largest - high
        if above > room and above >= below:
            return f"puts out {high:g} at most, and targets go up to {self.largest:.3g}"
        if below > room:
            return f"puts out no less than {low:g}, and targets go down to {self.least:.3g}"
        return ""


def target_rows(one: Pass) -> list[int]:
    """Return the rows of a pass at which its losses tell of their targets."""
    told = np.isfinite(one.columns["target_mean"]) | np.isfinite(one.columns["target_entropy"])
    return np.flatnonzero(told & (one.weights_above == 0)).tolist()


def targets_of(flow: Flow, sites: Sequence[Site]) -> Targets | None:
    """Return the targets of a flow's loss, None where none are recorded or it has several."""
    found = [(one, row) for one in flow.passes for row in target_rows(one)]
    losses = {int(one.site[row]) for one, row in found}
    if len(losses) != 1:
        return None

    def over_passes(name: str, combine: Callable[[Floats], np.float64]) -> float:
        values = np.array([one.columns[f"target_{name}"][row] for one, row in found])
        known = values[np.isfinite(values)]
        return float(combine(known)) if len(known) else math.nan

    return Targets(
        loss=sites[losses.pop()].operation,
        mean=over_passes("mean", np.mean),
        variance=over_passes("variance", np.mean),
        least=over_passes("least", np.min),
        largest=over_passes("largest", np.max),
        entropy=over_passes("entropy", np.mean),
    )
