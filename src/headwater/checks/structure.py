"""The way of the signal through a graph: nodes in a row, and branches that part and meet again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headwater.watch.graph import Edges


@dataclass(frozen=True, slots=True)
class Step:
    """One node that passes the signal of one other node on."""

    node: int


@dataclass(frozen=True, slots=True)
class Fork:
    """Branches that part somewhere nearer to the input and meet in the node ``join``.

    Each branch is listed from where they part; an empty one carries the signal as it is.
    """

    join: int
    branches: tuple[tuple[Part, ...], ...]


Part = Step | Fork


def signal_way(edges: Edges, signal: Sequence[Sequence[bool]], end: int) -> tuple[Part, ...]:
    """Return the way of the signal from the network's input to the node ``end``.

    Args:
        edges: Children of each node, nearer to the input.
        signal: Which of these edges carry the signal, and do not end in a parameter.
        end: The node that makes the output.

    Example:
        >>> edges = (((1, 0), (2, 0)), ((2, 0),), ())  # 0 = 1 + 2, and 1 reads 2
        >>> signal_way(edges, ((True, True), (True,), ()), 0)
        (Step(node=2), Fork(join=0, branches=((Step(node=1),), ())))
    """
    children = [
        tuple(
            dict.fromkeys(child for (child, _), carries in zip(kids, carry, strict=True) if carries)
        )
        for kids, carry in zip(edges, signal, strict=True)
    ]
    several = [
        sum(carries for _, carries in zip(kids, carry, strict=True)) > 1
        for kids, carry in zip(edges, signal, strict=True)
    ]
    meets = _meeting_points(children, end)
    return _way(end, _SOURCE, children, several, meets)


_SOURCE = -1
"""Where all signals begin; no node of the graph."""


def _way(
    node: int,
    stop: int,
    children: Sequence[tuple[int, ...]],
    several: Sequence[bool],
    meets: Sequence[int],
) -> tuple[Part, ...]:
    parts: list[Part] = []
    while node != stop:
        if several[node]:
            meet = meets[node]
            kids = children[node] if len(children[node]) > 1 else children[node] * 2
            branches = tuple(_way(kid, meet, children, several, meets) for kid in kids)
            parts.append(Fork(node, branches))
            node = meet
        else:
            parts.append(Step(node))
            node = children[node][0] if children[node] else _SOURCE
    return tuple(reversed(parts))


def _meeting_points(children: Sequence[tuple[int, ...]], end: int) -> list[int]:
    """Return for each node the first one that all ways from it to the input pass.

    The immediate post-dominator; ``_SOURCE`` where ways end apart.
    """
    order = _from_the_input(children, end)
    rank = {node: place for place, node in enumerate(order)}
    meets = [_SOURCE] * len(children)

    def common(one: int, other: int) -> int:
        while one != other:
            if _SOURCE in (one, other):
                return _SOURCE
            if rank[one] > rank[other]:
                one = meets[one]
            else:
                other = meets[other]
        return one

    for node in order:
        kids = children[node]
        meet = kids[0] if kids else _SOURCE
        for kid in kids[1:]:
            meet = common(meet, kid)
        meets[node] = meet
    return meets


def _from_the_input(children: Sequence[tuple[int, ...]], end: int) -> list[int]:
    """Return the nodes that lead to ``end``, each after all that it reads; without recursion."""
    order: list[int] = []
    seen: set[int] = set()
    stack: list[tuple[int, bool]] = [(end, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
            continue
        if node in seen:
            continue
        seen.add(node)
        stack.append((node, True))
        stack.extend((kid, False) for kid in children[node] if kid not in seen)
    return order
