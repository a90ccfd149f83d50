"""The ledger's tree of each judged backward pass, as arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

    from headwater.records import Kind, Site
    from headwater.runs.reader import Run

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

LAYER_KINDS: frozenset[Kind] = frozenset({"weights", "activation", "normalisation"})
"""The kinds whose outputs' gradients are the signal; shapes and junctions only hand it on."""

MOST_SAMPLES = 48
"""Samples judged at most: the first four, the newest eight, the rest evenly between.

The verdicts ask for most samples and the newest, which 48 settle as well as thousands.
"""

MANY_CALLS = 10
"""Weights used this often in one pass are a loop through time, not a layer used twice."""

_NUMBERS = (
    "edge_decades",
    "junction_decades",
    "level",
    "elements",
    "units",
    "dead",
    "dead_recent",
    "dead_run",
    "saturated",
    "mean",
    "variance",
    "first_direction",
    "target_mean",
    "target_variance",
    "target_least",
    "target_largest",
    "target_entropy",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pass:
    """One backward pass of a sample: its rows of ``sites.arrow``, loss and parameters included.

    ``parent`` holds row numbers, -1 at a root; ``parameter`` is -1 for operations. ``columns``
    are as recorded, null as NaN.
    """

    step: int
    backward: int
    parent: Ints
    site: Ints
    parameter: Ints
    call: Ints
    kind: npt.NDArray[np.str_]
    columns: Mapping[str, Floats]

    def over_ancestors(
        self, values: Floats, combine: Callable[[Floats, Floats], Floats], empty: float
    ) -> Floats:
        """Combine ``values`` over each row's ancestors, itself left out; ``empty`` if it has none.

        Doubles the hop each round, so that a graph of depth d takes log2(d) rounds of numpy and no
        recursion. ``combine`` must be associative.
        """
        end = len(self.parent)
        hop = np.append(np.where(self.parent < 0, end, self.parent), end)
        found = np.append(values, empty)[hop]
        while (hop < end).any():
            found = combine(found, found[hop])
            hop = hop[hop]
        ancestors: Floats = found[:-1]
        return ancestors

    def path(self, row: int) -> list[int]:
        """Return the rows from ``row`` up to its root."""
        path = [row]
        while self.parent[path[-1]] >= 0:
            path.append(int(self.parent[path[-1]]))
        return path

    def nearest(self, wanted: Bools) -> Ints:
        """Return for each row its nearest ancestor among ``wanted``, -1 if it has none."""
        end = len(self.parent)
        up = np.append(np.where(self.parent < 0, end, self.parent), end)
        stop = np.append(wanted, True)
        found = up.copy()
        while not stop[found].all():
            found = np.where(stop[found], found, up[found])
        return np.where(found[:-1] == end, -1, found[:-1])

    @cached_property
    def layers(self) -> Bools:
        """Rows whose level is the signal: outputs of weights, activations, normalisations."""
        layers: Bools = np.isin(self.kind, list(LAYER_KINDS)) & (self.parameter < 0)
        return layers

    @cached_property
    def weights_above(self) -> Floats:
        """How many operations with weights stand between each row and the loss."""
        weights = (self.kind == "weights").astype(float)
        return self.over_ancestors(weights, np.add, 0.0)

    @cached_property
    def level(self) -> Floats:
        """Decades of each arriving gradient's Frobenius norm."""
        return self.columns["level"]

    @cached_property
    def rms(self) -> Floats:
        """Decades of each arriving gradient's root mean square."""
        return self.level - 0.5 * np.log10(np.maximum(self.columns["elements"], 1.0))

    @cached_property
    def leaves(self) -> Ints:
        """The rows of parameters."""
        return np.flatnonzero(self.parameter >= 0)

    @cached_property
    def owners(self) -> Mapping[int, int]:
        """For each parameter the row of the operation with weights that uses it, -1 if none."""
        rows = self.nearest(self.layers & (self.kind == "weights"))[self.leaves]
        return dict(zip(self.parameter[self.leaves].tolist(), rows.tolist(), strict=True))

    @cached_property
    def calls(self) -> Ints:
        """How often each row's site was called in this pass."""
        calls: Ints = np.bincount(self.site)[self.site]
        return calls

    @cached_property
    def recurrent(self) -> bool:
        """Whether some weights are used again and again: a loop through time."""
        return bool((self.calls[self.kind == "weights"] >= MANY_CALLS).any())

    @property
    def root(self) -> int:
        """The first row without a parent."""
        return int(np.flatnonzero(self.parent < 0)[0])


@dataclass(frozen=True, kw_only=True, eq=False)
class Flow:
    """The backward passes of one loss, oldest first: a GAN has a flow for each of its losses."""

    passes: tuple[Pass, ...]

    @property
    def root_site(self) -> int:
        """Where the loss stands."""
        return int(self.passes[0].site[self.passes[0].root])

    @property
    def newest(self) -> Pass:
        """The last pass."""
        return self.passes[-1]


def numbers(table: pa.Table, name: str) -> Floats:
    """Return a column as floats, null as NaN."""
    return np.asarray(table[name].to_numpy(), dtype=np.float64)


def indices(table: pa.Table, name: str) -> Ints:
    """Return a column as integers, null as -1."""
    values = numbers(table, name)
    return np.where(np.isnan(values), -1, values).astype(np.int64)


def read_flows(run: Run) -> tuple[Flow, ...]:
    """Read the judged passes of ``run``, one flow for each loss.

    Passes belong together if the same operation makes their loss, they reach the same parameters,
    and the same optimiser uses them; a loss's line may be known in some samples only.
    """
    optimisers = dict(
        zip(
            indices(run.pulse, "step").tolist(),
            indices(run.pulse, "optimiser").tolist(),
            strict=True,
        )
    )
    grouped: dict[tuple[str, int, frozenset[int]], list[Pass]] = {}
    for one in _passes(run):
        operation = run.sites[one.site[one.root]].operation
        reached = frozenset(one.parameter[one.leaves].tolist())
        key = (operation, optimisers.get(one.step, -1), reached)
        grouped.setdefault(key, []).append(one)
    return tuple(Flow(passes=tuple(passes)) for passes in grouped.values())


def judged_steps(steps: Sequence[int], most: int = MOST_SAMPLES) -> tuple[int, ...]:
    """Choose at most ``most`` of the sampled steps.

    Example:
        >>> judged_steps(range(1000), most=16)
        (0, 1, 2, 3, 4, 333, 662, 991, 992, 993, 994, 995, 996, 997, 998, 999)
    """
    if len(steps) <= most:
        return tuple(steps)
    middle = np.linspace(4, len(steps) - 9, most - 12).round().astype(int).tolist()
    chosen = [*range(4), *middle, *range(len(steps) - 8, len(steps))]
    return tuple(steps[position] for position in chosen)


def _passes(run: Run) -> list[Pass]:
    table = run.site_rows
    step, backward = indices(table, "step"), indices(table, "backward")
    chosen = np.flatnonzero(np.isin(step, judged_steps(run.sampled_steps)))
    order = chosen[np.lexsort((backward[chosen], step[chosen]))]
    if not len(order):
        return []
    new = np.flatnonzero((np.diff(step[order]) != 0) | (np.diff(backward[order]) != 0)) + 1
    whole = {name: indices(table, name) for name in ("node", "parent", "site", "parameter", "call")}
    figures = {name: numbers(table, name) for name in _NUMBERS}
    passes = [
        _pass(
            (int(step[rows[0]]), int(backward[rows[0]])),
            {name: values[rows] for name, values in whole.items()},
            {name: values[rows] for name, values in figures.items()},
            run.sites,
        )
        for rows in np.split(order, new)
    ]
    return [one for one in passes if one is not None]


def _pass(
    place: tuple[int, int],
    whole: Mapping[str, Ints],
    columns: Mapping[str, Floats],
    sites: Sequence[Site],
) -> Pass | None:
    """Build one pass; None for a damaged one, whose walk does not reach a root."""
    node, above, site = whole["node"], whole["parent"], whole["site"]
    order = np.argsort(node)
    found = order[np.clip(np.searchsorted(node, above, sorter=order), 0, len(node) - 1)]
    parent = np.where(above < 0, -1, found)
    if not (parent < 0).any() or (node[found] != above)[above >= 0].any() or _cyclic(parent):
        return None
    return Pass(
        step=place[0],
        backward=place[1],
        parent=parent,
        site=site,
        parameter=whole["parameter"],
        call=whole["call"],
        kind=np.array([one.kind for one in sites])[site],
        columns=columns,
    )


def _cyclic(parent: Ints) -> bool:
    """Say whether some walk never ends, as in a damaged record only."""
    end = len(parent)
    hop = np.append(np.where(parent < 0, end, parent), end)
    for _ in range(end.bit_length()):
        hop = hop[hop]
    return bool((hop < end).any())
