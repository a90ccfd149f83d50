"""One recorded backward pass as columns, and which passes of a run are worth showing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from headwater.records import Site

if TYPE_CHECKING:
    from headwater.runs.reader import Run

_PLUMBING = frozenset({"shape", "precision", "parameter"})


@dataclass(frozen=True, kw_only=True)
class Pass:
    """The tree of one backward pass, parents before children.

    ``parent`` holds positions in these columns (-1 at a root), ``depth`` counts the operations
    between a node and the loss. ``level`` is in decades relative to the pass's root, ``gain`` the
    operation's own, ``junction`` that of the branches meeting there. ``shown`` leaves out what
    only hands a parameter's gradient on (its transpose, its cast).
    """

    step: int
    backward: int
    parent: Sequence[int]
    depth: Sequence[int]
    site: Sequence[int]
    level: Sequence[float | None]
    gain: Sequence[float | None]
    junction: Sequence[float]
    dead: Sequence[float | None]
    saturated: Sequence[float | None]
    shown: Sequence[bool]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A pass worth showing: the newest of ``alike`` ones with one loss and one optimiser."""

    step: int
    backward: int
    root: int
    optimiser: int | None
    alike: int


def choose(run: Run, step: int | None = None) -> tuple[Choice, ...]:
    """Return one pass per distinct graph, the newest of each; or those of ``step`` alone.

    Two passes are of one graph if they start at the same site for the same optimiser: a GAN's
    discriminator and generator are two graphs, the micro-batches of an accumulation are one.
    """
    roots = run.site_rows.filter(pc.equal(run.site_rows["parent"], -1))
    if step is not None:
        roots = roots.filter(pc.equal(roots["step"], step))
    pulse = run.pulse
    optimisers = dict(zip(pulse["step"].to_pylist(), pulse["optimiser"].to_pylist(), strict=True))
    found: dict[tuple[int, int | None], set[tuple[int, int]]] = {}
    for at, backward, root in zip(
        *(roots[name].to_pylist() for name in ("step", "backward", "site")), strict=True
    ):
        found.setdefault((root, optimisers.get(at)), set()).add((at, backward))
    choices = []
    for (root, optimiser), places in found.items():
        newest = max(place[0] for place in places)
        first = min(place[1] for place in places if place[0] == newest)
        choices.append(
            Choice(step=newest, backward=first, root=root, optimiser=optimiser, alike=len(places))
        )
    # A pass with several roots (one backward call on several losses) is one graph.
    unique = {(choice.step, choice.backward): choice for choice in reversed(choices)}
    return tuple(sorted(unique.values(), key=lambda choice: (choice.step, choice.backward)))


def read(run: Run, step: int, backward: int) -> Pass:
    """Read one backward pass of a sampled step.

    Raises:
        LookupError: The step has no ledger of that backward pass.
    """
    rows = run.site_rows
    rows = rows.filter(pc.and_(pc.equal(rows["step"], step), pc.equal(rows["backward"], backward)))
    if rows.num_rows == 0:
        raise LookupError(f"step {step} has no ledger of backward pass {backward}")
    names = ("node", "parent", "site", "level", "gain", "junction_decades", "dead", "saturated")
    columns: Mapping[str, list[Any]] = {name: rows[name].to_pylist() for name in names}
    position = {node: index for index, node in enumerate(columns["node"])}
    parents = [position.get(parent, -1) for parent in columns["parent"]]
    order = parents_first(parents)
    rank = [0] * len(order)
    for new, old in enumerate(order):
        rank[old] = new
    parent = [rank[parents[old]] if parents[old] >= 0 else -1 for old in order]

    def column(name: str) -> list[Any]:
        values = columns[name]
        return [values[old] for old in order]

    site = column("site")
    level = _relative(column("level"), parent)
    # Where nothing arrives nothing is left to lose: a gain there says nothing.
    arrives = [value != -math.inf for value in level]
    return Pass(
        step=step,
        backward=backward,
        parent=parent,
        depth=_depth(parent),
        site=site,
        level=level,
        gain=[gain if here else None for gain, here in zip(column("gain"), arrives, strict=True)],
        junction=[
            (junction or 0.0) if here else 0.0
            for junction, here in zip(column("junction_decades"), arrives, strict=True)
        ],
        dead=column("dead"),
        saturated=column("saturated"),
        shown=_shown(site, parent, run.sites),
    )


def parents_first(parents: Sequence[int]) -> list[int]:
    """Return an order of the positions in which every parent stands before its children.

    Positions on a cycle, which only a damaged record has, are left out.

    Example:
        >>> parents_first([2, 0, -1])
        [2, 0, 1]
    """
    children: list[list[int]] = [[] for _ in parents]
    order: list[int] = []
    for child, parent in enumerate(parents):
        (order if parent < 0 else children[parent]).append(child)
    for position in order:
        order.extend(children[position])
    return order


def _depth(parent: Sequence[int]) -> list[int]:
    depth: list[int] = []
    for above in parent:
        depth.append(0 if above < 0 else depth[above] + 1)
    return depth


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
