"""A graph as patterns ask of it: what is below a node, what it was made of, what is typed there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from headwater.watch.graph import Walk
from headwater.watch.stacks import Place
from headwater.watch.typed import typed_at

SAME = frozenset(
    "View UnsafeView ReshapeAlias T Transpose Permute Squeeze Unsqueeze Expand Alias Clone ToCopy"
    .split()
)  # fmt: skip
"""Operations that leave every entry as it is."""

PICKS = frozenset("Gather Index IndexSelect Select Slice Narrow MaskedSelect Take".split())
"""Operations that leave some entries as they are."""


class Look:
    """A graph as patterns ask of it."""

    def __init__(self, graph: Walk, operations: Sequence[str], places: Sequence[Place]) -> None:
        self.nodes, self.edges, self.operations = graph.nodes, graph.edges, operations
        self.places = places
        self.subjects: dict[int, int] = {}

    def is_users(self, node: int) -> bool:
        """Whether a line of the user's made a node, not a function of torch or of a library."""
        place = self.places[node]
        return place.line > 0 and place.file == place.user_file and not place.called

    def typed(self, node: int, *words: str) -> bool:
        """Whether one of some words is typed where a node was made."""
        place = self.places[node]
        return not typed_at(place.file, place.line).isdisjoint(words)

    def live(self, node: int) -> list[int]:
        """Return what a node was made of; constants have no node."""
        return [child for child, _ in self.edges[node] if child >= 0]

    def below(self, node: int, also: frozenset[str] = frozenset()) -> int | None:
        """Return what a node was made of alone, passing over changes of shape and dtype."""
        live = self.live(node)
        return self.under(live[0], also) if len(live) == 1 else None

    def under(self, node: int, also: frozenset[str] = frozenset()) -> int:
        """Return a node, or the one that it only shapes, casts or picks from (``also``)."""
        while self.operations[node] in SAME or self.operations[node] in also:
            live = self.live(node)
            if len(live) != 1:
                break
            node = live[0]
        return node

    def sides(self, node: int) -> tuple[int | None, int | None]:
        """Return both sides of an operation; None for a constant."""
        ends = [self.under(child) if child >= 0 else None for child, _ in self.edges[node]]
        return (ends[0], ends[1]) if len(ends) == 2 else (ends[0] if ends else None, None)

    def operation(self, node: int | None) -> str:
        """Return a node's operation, "" for a constant."""
        return self.operations[node] if node is not None else ""

    @cached_property
    def parents(self) -> list[list[int]]:
        """Which nodes each node's output goes to."""
        found: list[list[int]] = [[] for _ in self.edges]
        for node, children in enumerate(self.edges):
            for child in {child for child, _ in children if child >= 0}:
                found[child].append(node)
        return found
