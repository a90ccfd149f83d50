"""Folding the nodes of a backward pass into places: lines of source, operations of modules."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from headwater.records import Kind, Site
from headwater.reports.passes import Pass
from headwater.reports.view import Measure

Key = TypeVar("Key", bound=Hashable)

NEGLIGIBLE = 0.005
"""Decades that print as 0.00: a change of about one per cent."""


class Path(NamedTuple):
    """The nodes of one place along one way from the loss: first, last, how many, what they do."""

    first: int
    last: int
    length: int
    gain: float
    junction: float
    passes_on: bool

    @property
    def total(self) -> float:
        """Gains and junctions together, in decades."""
        return self.gain + self.junction


@dataclass(kw_only=True)
class Place:
    """The nodes that share a key, and the path through them that changes the gradient most."""

    path: Path
    nodes: list[int] = field(default_factory=list)


def fold(flow: Pass, keys: Sequence[Key | None]) -> dict[Key, Place]:
    """Group the shown nodes of ``flow`` by their key; None leaves a node out.

    What a place does in total is the sum over its nodes along one path from the loss: 200 calls
    in a loop add up, 200 branches side by side do not.
    """
    places: dict[Key, Place] = {}
    paths: dict[Key, Path] = {}
    left: list[tuple[Key, Path | None]] = []  # what to put back on the way up
    children = _children(flow.parent)
    stack = [position for position, above in enumerate(flow.parent) if above < 0][::-1]
    while stack:
        position = stack.pop()
        if position < 0:
            key, before = left.pop()
            if before is None:
                del paths[key]
            else:
                paths[key] = before
            continue
        here = keys[position] if flow.shown[position] else None
        if here is not None:
            path = _extended(paths.get(here), flow, position)
            left.append((here, paths.get(here)))
            stack.append(-1)
            paths[here] = path
            _note(places, here, position, path)
        stack.extend(children[position])
    return places


def _children(parent: Sequence[int]) -> list[list[int]]:
    children: list[list[int]] = [[] for _ in parent]
    for child, above in enumerate(parent):
        if above >= 0:
            children[above].append(child)
    return children


def _extended(path: Path | None, flow: Pass, position: int) -> Path:
    gain, junction = flow.gain[position], flow.junction[position]
    if path is None:
        path = Path(position, position, 0, 0.0, 0.0, False)
    return Path(
        path.first,
        position,
        path.length + 1,
        path.gain + (gain or 0.0),
        path.junction + junction,
        path.passes_on or gain is not None,
    )


def _note(places: dict[Key, Place], key: Key, position: int, path: Path) -> None:
    place = places.get(key)
    if place is None:
        place = places[key] = Place(path=path)
    elif _weight(path) > _weight(place.path):
        place.path = path
    place.nodes.append(position)


def _weight(path: Path) -> tuple[float, int]:
    """How much a path says: the most changed first, then the longest."""
    total = path.total
    return (abs(total) if math.isfinite(total) else math.inf), path.length


def measure(flow: Pass, place: Place, sites: Sequence[Site]) -> Measure:
    """Sum up a place as it is shown."""
    path = place.path
    calls = _calls(flow, place, sites)
    on_path = max(1, round(calls * path.length / len(place.nodes)))
    says = path.passes_on or abs(path.junction) >= NEGLIGIBLE
    arriving = flow.level[path.first]
    return Measure(
        kinds=_kinds(flow, place, sites),
        operations=len(place.nodes),
        calls=calls,
        gain=path.gain / on_path if path.passes_on else None,
        junction=path.junction,
        total=path.total if says else None,
        level_in=None if arriving is None else _plus(arriving, -flow.junction[path.first]),
        level_out=_leaving(flow, path.last),
        dead=_worst(flow.dead, place),
        saturated=_worst(flow.saturated, place),
    )


def _calls(flow: Pass, place: Place, sites: Sequence[Site]) -> int:
    """How often the place's most frequent operation ran; views and casts count only alone."""
    seen = Counter(flow.site[node] for node in place.nodes)
    operations: Counter[str] = Counter()
    trivial: Counter[str] = Counter()
    for index, count in seen.items():
        site = sites[index]
        (trivial if site.kind == "shape" else operations)[site.operation] += count
    return max((operations or trivial).values())


def _kinds(flow: Pass, place: Place, sites: Sequence[Site]) -> tuple[Kind, ...]:
    """Return the kinds at a place, the one that changes the gradient most first."""
    size: dict[Kind, float] = {}
    for node in place.nodes:
        kind = sites[flow.site[node]].kind
        gain = abs(flow.gain[node] or 0.0)
        size[kind] = size.get(kind, 0.0) + (gain if math.isfinite(gain) else math.inf)
    if len(size) > 1 and size.get("shape", math.inf) < NEGLIGIBLE:
        del size["shape"]
    joined = sum(abs(flow.junction[node]) for node in place.nodes)
    if joined >= NEGLIGIBLE or math.isnan(joined):
        size["junction"] = size.get("junction", 0.0) + joined
    return tuple(sorted(size, key=lambda kind: -size[kind]))


def _leaving(flow: Pass, position: int) -> float | None:
    level, gain = flow.level[position], flow.gain[position]
    return level if level is None or gain is None else _plus(level, gain)


def _plus(level: float, change: float) -> float:
    """Add decades; a gradient of exactly zero stays one, whatever the change."""
    return level if math.isinf(level) else level + change


def _worst(shares: Sequence[float | None], place: Place) -> float | None:
    return max((s for n in place.nodes if (s := shares[n]) is not None), default=None)
