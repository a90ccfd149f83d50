"""Folding the nodes of a backward pass into places: lines of source, operations of modules."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from headwater.reports.passes import Pass
from headwater.reports.trees import children_of

Key = TypeVar("Key", bound=Hashable)


class Path(NamedTuple):
    """The nodes of one place along one way from the loss: the last of them, and their sums.

    ``onward`` is how far the way leads where it goes on after the place, or ends at an input.
    """

    last: int
    length: int
    gain: float
    junction: float
    passes_on: bool
    onward: tuple[bool, int] | None

    @property
    def total(self) -> float:
        """Gains and junctions together, in decades."""
        return self.gain + self.junction

    @property
    def weight(self) -> tuple[bool, bool, int, float, int]:
        """How much a path says of its place.

        First the ways to an input, the longest before all; of branches that end within the place
        because they meet a larger one elsewhere, the one that changes the gradient most.
        """
        change = abs(self.total) if math.isfinite(self.total) else math.inf
        if self.onward is None:
            return False, False, -1, change, self.length
        return True, *self.onward, 0.0, self.length


@dataclass(kw_only=True)
class Place:
    """The nodes that share a key, and the path through them that says most of them.

    ``above`` is the place's next node towards the loss, -1 where the path enters the place.
    """

    path: Path
    above: dict[int, int] = field(default_factory=dict)

    def path_nodes(self) -> list[int]:
        """Return the nodes of the path, from the input's side to the loss's."""
        nodes = []
        node = self.path.last
        while node >= 0:
            nodes.append(node)
            node = self.above[node]
        return nodes

    def entries(self) -> list[int]:
        """Return the nodes at which the gradient enters the place."""
        return [node for node, above in self.above.items() if above < 0]

    def exits(self) -> list[int]:
        """Return the nodes from which it leaves the place for good."""
        inner = set(self.above.values())
        return [node for node in self.above if node not in inner]


def fold(flow: Pass, keys: Sequence[Key | None]) -> dict[Key, Place]:
    """Group the shown nodes of ``flow`` by their key; None leaves a node out.

    What a place does in total is the sum over its nodes along one path from the loss: 200 calls
    in a loop add up, 200 branches side by side do not.
    """
    places: dict[Key, Place] = {}
    paths: dict[Key, Path] = {}
    left: list[tuple[Key, Path | None]] = []  # what to put back on the way up
    children = children_of(flow.parent)
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
            known = paths.get(here)
            left.append((here, known))
            stack.append(-1)
            leads = [child for child in children[position] if flow.shown[child]]
            onward = [flow.reach[child] for child in leads if keys[child] != here]
            if not leads and flow.reach[position].to_input:
                onward = [flow.reach[position]]
            farthest = max(((reach.to_input, reach.depth) for reach in onward), default=None)
            paths[here] = _extended(known, flow, position, farthest)
            _note(places, here, paths[here], known)
        stack.extend(children[position])
    return places


def _extended(
    path: Path | None, flow: Pass, position: int, onward: tuple[bool, int] | None
) -> Path:
    gain, junction = flow.gain[position], flow.junction[position]
    return Path(
        last=position,
        length=1 + (path.length if path else 0),
        gain=(gain or 0.0) + (path.gain if path else 0.0),
        junction=junction + (path.junction if path else 0.0),
        passes_on=gain is not None or (path is not None and path.passes_on),
        onward=onward,
    )


def _note(places: dict[Key, Place], key: Key, path: Path, before: Path | None) -> None:
    place = places.get(key)
    if place is None:
        place = places[key] = Place(path=path)
    elif path.weight > place.path.weight:
        place.path = path
    place.above[path.last] = -1 if before is None else before.last
