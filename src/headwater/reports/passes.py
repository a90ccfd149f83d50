"""One recorded backward pass as columns, and which passes of a run are worth showing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A pass worth showing: the newest of ``alike`` ones with one loss and one optimiser.

    ``not_finite`` is the newest step of those passed over because nothing in them is finite.
    """

    step: int
    backward: int
    root: int
    optimiser: int | None
    alike: int
    not_finite: int | None = None


def choose(run: Run, step: int | None = None) -> tuple[Choice, ...]:
    """Return one pass per distinct graph, the newest of each; or those of ``step`` alone.

    Two passes are of one graph if they start at the same site for the same optimiser: a GAN's
    discriminator and generator are two graphs, the micro-batches of an accumulation are one. A
    pass in which nothing is finite shows nothing: the newest one that does is preferred.
    """
    rows = run.site_rows
    if step is not None:
        rows = rows.filter(pc.equal(rows["step"], step))
    at_root = pc.equal(rows["parent"], -1)
    roots = rows.filter(at_root)
    readable = rows.filter(pc.and_(pc.invert(at_root), pc.invert(pc.is_nan(rows["level"]))))
    telling = set(_places(readable))
    pulse = run.pulse
    optimisers = dict(zip(pulse["step"].to_pylist(), pulse["optimiser"].to_pylist(), strict=True))
    found: dict[tuple[int, int | None], set[tuple[int, int]]] = {}
    for place, root in zip(_places(roots), roots["site"].to_pylist(), strict=True):
        found.setdefault((root, optimisers.get(place[0])), set()).add(place)
    choices = [
        _choice(root, optimiser, places, telling) for (root, optimiser), places in found.items()
    ]
    # A pass with several roots (one backward call on several losses) is one graph.
    unique = {(choice.step, choice.backward): choice for choice in reversed(choices)}
    return tuple(sorted(unique.values(), key=lambda choice: (choice.step, choice.backward)))


def _places(rows: Any) -> list[tuple[int, int]]:
    return list(zip(rows["step"].to_pylist(), rows["backward"].to_pylist(), strict=True))


def _choice(
    root: int, optimiser: int | None, places: set[tuple[int, int]], telling: set[tuple[int, int]]
) -> Choice:
    newest = max(at for at, _ in places)
    shown = max((at for at, backward in places & telling), default=newest)
    return Choice(
        step=shown,
        backward=min(backward for at, backward in places if at == shown),
        root=root,
        optimiser=optimiser,
        alike=len(places),
        not_finite=newest if newest > shown else None,
    )


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
    shown = _shown(site, parent, run.sites)
    passes_on = [gain is not None for gain in column("gain")]
    meets = [bool(junction) for junction in column("junction_decades")]
    reach = reaches(parent, shown, passes_on, meets)
    # Where nothing arrives nothing is left to lose: a gain there says nothing.
    arrives = [value != -math.inf for value in level]
    finite = [value is not None and math.isfinite(value) for value in level]
    return Pass(
        step=step,
        backward=backward,
        parent=parent,
        rank=forward_rank(parent, reach),
        reach=reach,
        site=site,
        level=level,
        gain=[gain if here else None for gain, here in zip(column("gain"), arrives, strict=True)],
        junction=[
            (junction or 0.0) if here else 0.0
            for junction, here in zip(column("junction_decades"), finite, strict=True)
        ],
        dead=column("dead"),
        saturated=column("saturated"),
        shown=shown,
    )


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
