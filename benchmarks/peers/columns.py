"""What the peers look at, read from a record once: losses, parameters and activations as arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from scipy.special import ndtri

from headwater.rules.passes import indices, numbers
from headwater.runs.reader import Run

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MEAN_IN_BINADE = 1.0 / math.log(2.0)
"""Mean of numbers between 1 and 2 that are spread evenly in their logarithm."""

_ROWS = ("zero_share", "nonfinite_share", "weight_norm", "weight_nonfinite_share",
         "relative_update", "gradient_zeros")  # fmt: skip
_UNITS = ("dead", "saturated_units", "mean", "variance")
QUANTILES: Floats = ndtri((np.arange(21) + 0.5) / 21)
"""Points of a standard normal distribution, each for an equal share of it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Activations:
    """An activation's line, ``[sample]`` each: the operation and what was read of its units."""

    operation: str
    step: Ints
    dead: Floats
    saturated_units: Floats
    mean: Floats
    variance: Floats

    def outputs(self, shape: Callable[[Floats], Floats]) -> Floats:
        """Return points of the output ``[sample, point]``, were the input normal."""
        spread = np.sqrt(np.maximum(self.variance, 0.0))
        return shape(self.mean[:, None] + spread[:, None] * QUANTILES)


class Columns:
    """A record as the peers see it; null is NaN throughout."""

    def __init__(self, run: Run) -> None:
        """Hold the run; columns are read when first asked for, and kept."""
        self.run = run
        self.parameters = run.parameters

    @cached_property
    def step(self) -> Ints:
        """The steps of the pulse."""
        return indices(self.run.pulse, "step")

    @cached_property
    def loss(self) -> Floats:
        """The loss of each step."""
        return numbers(self.run.pulse, "loss")

    @cached_property
    def gradient(self) -> Floats:
        """Norm of each parameter's gradient, ``[step, parameter]``; NaN where there was none."""
        lists = self.run.pulse["gradient_norms"].to_pylist()
        norms = np.full((len(lists), len(self.parameters)), np.nan)
        for row, values in enumerate(lists):
            if values:
                norms[row, : len(values)] = [np.nan if one is None else one for one in values]
        return norms

    @cached_property
    def broken(self) -> npt.NDArray[np.bool_]:
        """Whether a gradient was there and not finite, ``[step]``."""
        lists = self.run.pulse["gradient_norms"].to_pylist()
        return np.array(
            [any(one is not None and not math.isfinite(one) for one in row or ()) for row in lists],
            dtype=bool,
        )

    @cached_property
    def weights(self) -> Sequence[int]:
        """The parameters with two axes or more, from the input on, as their modules stand."""
        order = {entry["path"]: place for place, entry in enumerate(self.run.info.modules)}
        found = [at for at, info in enumerate(self.parameters) if len(info.shape) > 1]
        return sorted(found, key=lambda at: order.get(self.parameters[at].module, 0))

    @cached_property
    def biases(self) -> Sequence[int]:
        """The parameters that are called a bias."""
        return [at for at, info in enumerate(self.parameters) if info.name.endswith("bias")]

    @cached_property
    def samples(self) -> Ints:
        """The steps with rows of parameters."""
        return np.unique(indices(self.run.parameter_rows, "step"))

    @cached_property
    def rows(self) -> Mapping[str, Floats]:
        """Columns of the parameters' rows, ``[sample, parameter]``."""
        return {name: self._matrix(numbers(self.run.parameter_rows, name)) for name in _ROWS}

    @cached_property
    def mean_gradient(self) -> Floats:
        """Mean magnitude of a gradient's entries, ``[sample, parameter]``, from exponent counts.

        An entry counts as the mean of its binade, so this is right to some percent for a spread of
        sizes and to 44 % at worst.
        """
        return self._matrix(np.array([_mean(*row) for row in self._counts]))

    @cached_property
    def wide_gradient(self) -> Floats:
        """The 90 % point of a gradient's magnitudes, from above, ``[sample, parameter]``."""
        return self._matrix(np.array([_ninetieth(*row) for row in self._counts]))

    @cached_property
    def unit_sums(self) -> Mapping[int, tuple[Floats, int]]:
        """Of each matrix in the first sample: L1 norms of its units as kept, and how many units."""
        table = self.run.parameter_rows
        first = table.filter(pc.equal(table["step"], int(self.samples[0]))) if len(table) else table
        return {
            row["parameter"]: (np.array(row["unit_l1"], dtype=np.float64), row["units"])
            for row in first.select(["parameter", "unit_l1", "units"]).to_pylist()
            if row["unit_l1"]
        }

    @cached_property
    def activations(self) -> Sequence[Activations]:
        """Every activation's line with what was read of its units, first calls only."""
        table = self.run.site_rows
        table = table.filter(pc.is_valid(table["units"]))
        site, step = indices(table, "site"), indices(table, "step")
        read = {name: numbers(table, name) for name in _UNITS}
        found = []
        for at in np.unique(site):
            chosen = np.flatnonzero(site == at)
            _, first = np.unique(step[chosen], return_index=True)
            rows = chosen[first]
            columns = {name: values[rows] for name, values in read.items()}
            operation = self.run.sites[int(at)].operation
            found.append(Activations(operation=operation, step=step[rows], **columns))
        return found

    @cached_property
    def operations(self) -> frozenset[str]:
        """The operations of the graph."""
        return frozenset(site.operation for site in self.run.sites)

    @cached_property
    def input_size(self) -> float:
        """The inputs' root mean square as the first matrix's gradient tells it; NaN if unknown.

        Exact were the examples' errors independent; else up to the root of the batch too large.
        """
        nothing = not len(self.weights) or not len(self.run.site_rows)
        if nothing or "Embedding" in self.operations:
            return math.nan
        wanted = self.weights[0]
        table = self.run.site_rows
        table = table.filter(pc.and_(pc.equal(table["step"], int(pc.min(table["step"]).as_py())),
                                     pc.equal(table["backward"], 0)))  # fmt: skip
        rows = {row["node"]: row for row in table.select(
            ["node", "parent", "site", "level", "parameter"]).to_pylist()}  # fmt: skip
        leaf = next((row for row in rows.values() if row["parameter"] == wanted), None)
        at = rows.get(leaf["parent"]) if leaf else None
        while at is not None and self.run.sites[at["site"]].kind != "weights":
            at = rows.get(at["parent"])
        if leaf is None or at is None or len(self.parameters[wanted].shape) != 2:
            return math.nan
        if sum(row["site"] == at["site"] for row in rows.values()) > 1:
            return math.nan  # a loop's weights add up the errors of all its turns
        return float(
            10.0 ** (leaf["level"] - at["level"]) / self.parameters[wanted].shape[1] ** 0.5
        )

    @cached_property
    def _counts(self) -> Sequence[tuple[int | None, Sequence[int] | None, int | None]]:
        table = self.run.parameter_rows
        names = ("gradient_exponent", "gradient_counts", "gradient_zeros")
        return list(zip(*(table[name].to_pylist() for name in names), strict=True))

    def _matrix(self, values: Floats) -> Floats:
        table = self.run.parameter_rows
        found = np.full((len(self.samples), len(self.parameters)), np.nan)
        at = np.searchsorted(self.samples, indices(table, "step"))
        found[at, indices(table, "parameter")] = values
        return found


def _mean(exponent: int | None, counts: Sequence[int] | None, zeros: int | None) -> float:
    if zeros is None:
        return math.nan
    if not counts or exponent is None:
        return 0.0 if zeros else math.nan
    sizes = MEAN_IN_BINADE * np.exp2(exponent + np.arange(len(counts), dtype=np.float64))
    return float(sizes @ np.asarray(counts, dtype=np.float64) / (sum(counts) + zeros))


def _ninetieth(exponent: int | None, counts: Sequence[int] | None, zeros: int | None) -> float:
    if zeros is None:
        return math.nan
    if not counts or exponent is None:
        return 0.0 if zeros else math.nan
    below = zeros + np.cumsum(counts)
    place = int(np.searchsorted(below, 0.9 * below[-1]))
    return 0.0 if 0.9 * below[-1] <= zeros else float(np.exp2(exponent + place + 1.0))


def first(steps: Ints, hits: npt.NDArray[np.bool_]) -> int | None:
    """Return the first step at which something holds, None if at none."""
    at = np.flatnonzero(hits)
    return int(steps[at[0]]) if len(at) else None
