"""One recorded backward pass as columns, in the order of the ledger's tree."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from headwater.records import Site
from headwater.reports.trees import Reach, forward_rank, parents_first, reaches

if TYPE_CHECKING:
    from headwater.runs.reader import Run

_PLUMBING = frozenset({"shape", "precision", "parameter"})


@dataclass(frozen=True, kw_only=True)
class Pass:
    """The tree of one backward pass, parents before children.

    ``parent`` holds positions in these columns (-1 at a root), ``rank`` is the place
    in the order of the forward pass, ``reach`` how far a node leads. ``level`` is in decades
    relative to the pass's root, ``gain`` the operation's own, ``junction`` that of the branches
    meeting there. ``shown`` leaves out what only hands a parameter's gradient on (its transpose,
    its cast).
    """

    step: int
    backward: int
    parent: Sequence[int]
    rank: Sequence[int]
    reach: Sequence[Reach]
    site: Sequence[int]
    level: Sequence[float | None]
    gain: Sequence[float | None]
    junction: Sequence[float]
    dead: Sequence[float | None]
    saturated: Sequence[float | None]
    shown: Sequence[bool]


def read(run: Run, step: int, backward: int) -> Pass:
    """Read one backward pass of a sampled step.

    Raises:
        LookupError: The step has no ledger of that backward pass.
    """
    rows = run.site_rows
    rows = rows.filter(pc.and_(pc.equal(rows["step"], step), pc.equal(rows["backward"], backward)))
    if rows.num_rows == 0:
        raise LookupError(f"step {step} has no ledger of backward pass {backward}")
    parent, column = _in_tree_order(rows)
    site = column("site")
    level = _relative(column("level"), parent)
    shown = _shown(site, parent, run.sites)
    # Where nothing arrives nothing is left to lose: a gain there says nothing.
    arrives = [value != -math.inf for value in level]
    finite = [value is not None and math.isfinite(value) for value in level]
    gain, junction = column("gain"), column("junction_decades")
    inputs = [value is None and here for value, here in zip(gain, arrives, strict=True)]
    reach = reaches(parent, shown, inputs, list(map(bool, junction)))
    return Pass(
        step=step,
        backward=backward,
        parent=parent,
        rank=forward_rank(parent, reach),
        reach=reach,
        site=site,
        level=level,
        gain=[value if here else None for value, here in zip(gain, arrives, strict=True)],
        junction=[
            (value if here else 0) or 0.0 for value, here in zip(junction, finite, strict=True)
        ],
        dead=column("dead"),
        saturated=column("saturated"),
        shown=shown,
    )


def _in_tree_order(rows: Any) -> tuple[list[int], Callable[[str], list[Any]]]:
    """Return the parents' positions, and what gives a column in the same order."""
    nodes = rows["node"].to_pylist()
    position = {node: index for index, node in enumerate(nodes)}
    parents = [position.get(parent, -1) for parent in rows["parent"].to_pylist()]
    order = parents_first(parents)
    place = {old: new for new, old in enumerate(order)}
    parent = [place[parents[old]] if parents[old] >= 0 else -1 for old in order]

    def column(name: str) -> list[Any]:
        values = rows[name].to_pylist()
        return [values[old] for old in order]

    return parent, column


def _relative(levels: Sequence[float | None], parent: Sequence[int]) -> list[float | None]:
    """Subtract each node's own root's level; a root of exactly zero has nothing to compare with."""
    base: list[float] = []
    relative: list[float | None] = []
    for level, above in zip(levels, parent, strict=True):
        own = level if level is not None and math.isfinite(level) else 0.0
        base.append(own if above < 0 else base[above])
        relative.append(None if level is None else level - base[-1])
    return relative


def _shown(site: Sequence[int], parent: Sequence[int], sites: Sequence[Site]) -> list[bool]:
    plumbing = [False] * len(site)
    leads_on = [False] * len(site)
    has_child = [False] * len(site)
    for position in range(len(site) - 1, -1, -1):
        kind = sites[site[position]].kind
        leaf = kind == "parameter"
        plumbing[position] = leaf or (
            kind in _PLUMBING and has_child[position] and not leads_on[position]
        )
        above = parent[position]
        if above >= 0:
            has_child[above] = True
            leads_on[above] = leads_on[above] or not plumbing[position]
    return [not value for value in plumbing]
