"""The account of a backward pass: where each decade of the gradient went. Pure arithmetic."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from headwater.errors import NotRecordedError
from headwater.records import Kind, LedgerEntry, ParameterInfo, Site

Row = Mapping[str, Any]
ROOTS_PARENT = -1


@dataclass(frozen=True, kw_only=True)
class SiteSummary:
    """What one site did in a backward pass, over all its calls.

    ``gains`` are those of the calls in the order of the forward pass, None where a call passes no
    gradient on; ``decades`` is their sum, None if all are None; ``lowest`` and ``highest`` are
    the levels of the gradients that arrived. ``rows`` are the site's rows of ``sites.arrow``, in
    the same order.
    """

    index: int
    site: Site
    calls: int
    gains: tuple[float | None, ...]
    decades: float | None
    lowest: float
    highest: float
    rows: tuple[Row, ...]


class Ledger:
    """The exact account of one backward pass, from the loss to every parameter.

    The rows form a tree whose root is the loss; ``docs/record.md`` says how. Where the gradient
    becomes exactly zero its level is ``-inf``, and the operation that did it carries ``-inf``
    decades; below that nothing is left to lose, so every further step from ``-inf`` to ``-inf``
    counts as 0.0 decades, and so does the whole account if the loss's own gradient is zero. A
    gradient with a NaN or an infinity in it has level ``nan``, and so has every sum it enters.

    Example:
        >>> loss = {"node": 0, "parent": -1, "site": 0, "level": 0.0, "parameter": None}
        >>> leaf = {"node": 1, "parent": 0, "site": 1, "level": -0.25, "parameter": 0,
        ...     "edge_decades": -0.5, "junction_decades": 0.25}
        >>> sites = Site(operation="mm", kind="weights"), Site(operation="leaf", kind="parameter")
        >>> weight = ParameterInfo(name="w", shape=(3, 3), dtype="float32", requires_grad=True)
        >>> ledger = Ledger((loss, leaf), sites, (weight,))
        >>> [(entry.site.operation, entry.kind, entry.decades) for entry in ledger.entries("w")]
        [('mm', 'weights', -0.5), ('leaf', 'junction', 0.25)]
        >>> ledger.decades("w") == ledger.measured("w") == -0.25
        True
    """

    def __init__(
        self,
        rows: Sequence[Row],
        sites: Sequence[Site],
        parameters: Sequence[ParameterInfo],
        *,
        step: int = 0,
        backward: int = 0,
    ) -> None:
        """Take the rows of one step and backward pass of ``sites.arrow``."""
        self.rows = tuple(rows)
        self.step = step
        self.backward = backward
        self._sites = sites
        self._nodes = {row["node"]: row for row in self.rows}
        self._leaves: dict[str, Row] = {}
        rooted = _rooted(self._nodes)
        for row in self.rows:
            if row["parameter"] is not None and row["node"] in rooted:
                self._leaves.setdefault(parameters[row["parameter"]].name, row)

    @property
    def nodes(self) -> Mapping[int, Row]:
        """The rows by the number of their node."""
        return self._nodes

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters with an account: those whose walk reaches the loss."""
        return tuple(self._leaves)

    def entries(self, name: str) -> tuple[LedgerEntry, ...]:
        """Return the account of a parameter from the loss on, one entry a site and kind.

        Raises:
            NotRecordedError: The parameter has no account.
        """
        folded: dict[tuple[int, Kind], list[float]] = {}
        for site, kind, decades in self._parts(name):
            folded.setdefault((site, kind), []).append(decades)
        return tuple(
            LedgerEntry(
                site=self._sites[site],
                kind=kind,
                decades=sum(each),
                calls=len(each),
                each=tuple(each),
            )
            for (site, kind), each in folded.items()
        )

    def decades(self, name: str) -> float:
        """Return the sum of the entries; equal to :meth:`measured`."""
        return sum(decades for _, _, decades in self._parts(name))

    def measured(self, name: str) -> float:
        """Return the parameter's level less the loss's, in decades."""
        path = self._path(self._leaf(name))
        return _difference(path[-1]["level"], path[0]["level"])

    def by_kind(self, name: str) -> dict[Kind, float]:
        """Return the decades of a parameter's account by kind, from the loss on."""
        return _summed(self.entries(name), lambda entry: entry.kind)

    def by_module(self, name: str) -> dict[str, float]:
        """Return the decades of a parameter's account by module path, from the loss on."""
        return _summed(self.entries(name), lambda entry: entry.site.module)

    @cached_property
    def _summaries(self) -> dict[int, SiteSummary]:
        grouped: dict[int, list[Row]] = {}
        for row in self.rows:
            grouped.setdefault(row["site"], []).append(row)
        return {index: _summary(index, self._sites[index], rows) for index, rows in grouped.items()}

    def by_site(self) -> dict[int, SiteSummary]:
        """Return what each site did over all its calls, by its index, from the loss on."""
        return dict(self._summaries)

    def _leaf(self, name: str) -> Row:
        if name not in self._leaves:
            near = difflib.get_close_matches(name, self._leaves, n=2)
            hint = f"nearest: {', '.join(map(repr, near))}" if near else f"it has {self.names}"
            raise NotRecordedError(f"account of parameter {name!r} at step {self.step}", hint)
        return self._leaves[name]

    def _path(self, leaf: Row) -> list[Row]:
        """Return the rows from the root to ``leaf``."""
        path = [leaf]
        while path[-1]["parent"] != ROOTS_PARENT:
            path.append(self._nodes[path[-1]["parent"]])
        return path[::-1]

    def _parts(self, name: str) -> list[tuple[int, Kind, float]]:
        """Return (site, kind, decades) of every operation and junction on the walk."""
        path = self._path(self._leaf(name))
        parts: list[tuple[int, Kind, float]] = []
        for parent, row in pairwise(path):
            site = parent["site"]
            nothing_left = _is_zero(parent["level"]) and _is_zero(row["level"])
            edge = 0.0 if nothing_left else _number(row["edge_decades"])
            junction = 0.0 if nothing_left else _number(row["junction_decades"])
            parts.append((site, self._sites[site].kind, edge))
            if junction != 0.0:
                parts.append((row["site"], "junction", junction))
        return parts


def _rooted(nodes: Mapping[int, Row]) -> set[int]:
    """Return the nodes whose walk reaches a root.

    A kill can cut off the batch with a node's parent, and a spoilt record can hold a circle.
    """
    rooted = {ROOTS_PARENT}
    for start in nodes:
        node = start
        walked: set[int] = set()
        while node in nodes and node not in rooted and node not in walked:
            walked.add(node)
            node = nodes[node]["parent"]
        if node in rooted:
            rooted |= walked
    return rooted


def _summary(index: int, site: Site, rows: list[Row]) -> SiteSummary:
    ordered = tuple(sorted(rows, key=lambda row: (row["call"] or 0, row["node"])))
    gains = tuple(None if _is_zero(row["level"]) else row["gain"] for row in ordered)
    known = [gain for gain in gains if gain is not None]
    levels = [_number(row["level"]) for row in ordered]
    return SiteSummary(
        index=index,
        site=site,
        calls=len(ordered),
        gains=gains,
        decades=sum(known) if known else None,
        lowest=_extreme(min, levels),
        highest=_extreme(max, levels),
        rows=ordered,
    )


def _summed(entries: Sequence[LedgerEntry], key: Callable[[LedgerEntry], Any]) -> dict[Any, float]:
    totals: dict[Any, float] = {}
    for entry in entries:
        totals[key(entry)] = totals.get(key(entry), 0.0) + entry.decades
    return totals


def _extreme(pick: Callable[[list[float]], float], levels: list[float]) -> float:
    # min and max of a list with a NaN depend on its order.
    return math.nan if any(map(math.isnan, levels)) else pick(levels)


def _is_zero(level: float | None) -> bool:
    return level == -math.inf


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _difference(level: float | None, root: float | None) -> float:
    if _is_zero(level) and _is_zero(root):
        return 0.0
    return _number(level) - _number(root)
