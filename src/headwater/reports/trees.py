"""The ledger's tree: parents before children, where it leads, the order of the forward pass.

Every node's parent is the one that contributed most to its gradient. Where branches meet, the
lesser ones therefore end: their last operation passes a gradient on, but has no child.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Reach(NamedTuple):
    """How far a node leads; a larger one is nearer to being the network's trunk.

    ``to_input`` tells whether it leads to an input that a gradient reaches, ``met`` how many
    places where branches meet lie below it, ``depth`` how far from the loss the farthest node is.
    """

    to_input: bool
    met: int
    depth: int


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


def children_of(parent: Sequence[int]) -> list[list[int]]:
    """Return the children of every position.

    Example:
        >>> children_of([-1, 0, 0])
        [[1, 2], [], []]
    """
    children: list[list[int]] = [[] for _ in parent]
    for child, above in enumerate(parent):
        if above >= 0:
            children[above].append(child)
    return children


def reaches(
    parent: Sequence[int],
    shown: Sequence[bool],
    inputs: Sequence[bool],
    meets: Sequence[bool],
) -> list[Reach]:
    """Return how far every node leads, for columns in which parents stand before children.

    Args:
        parent: Position of each node's parent, -1 at a root.
        shown: False for what only leads to a parameter.
        inputs: Whether a gradient arrives at the node and none goes on, but to parameters; a branch
            that ends although it passes a gradient on has met a larger one.
        meets: Whether several branches meet at the node.

    Example:
        >>> reaches([-1, 0, 0], [True] * 3, [False, True, False], [False, True, False])[2]
        Reach(to_input=False, met=0, depth=1)
    """
    depth: list[int] = []
    for above in parent:
        depth.append(0 if above < 0 else depth[above] + 1)
    input_below, farthest, met = [False] * len(parent), list(depth), [int(here) for here in meets]
    ends = [True] * len(parent)
    for position in range(len(parent) - 1, -1, -1):
        above = parent[position]
        if not shown[position]:
            continue
        input_below[position] |= ends[position] and inputs[position]
        if above >= 0:
            ends[above] = False
            input_below[above] |= input_below[position]
            met[above] += met[position]
            farthest[above] = max(farthest[above], farthest[position])
    return [Reach(*of) for of in zip(input_below, met, farthest, strict=True)]


def forward_rank(parent: Sequence[int], reach: Sequence[Reach]) -> list[int]:
    """Return each node's place in the order of the forward pass.

    What leads to an input, or to where branches meet, was computed before the branches that end
    because they met it, and both before the node at which they part.

    Example:
        >>> forward_rank([-1, 0, 0], [Reach(True, 1, 1), Reach(True, 1, 1), Reach(False, 0, 1)])
        [2, 0, 1]
    """
    children = children_of(parent)
    order: list[int] = []
    stack = [position for position, above in enumerate(parent) if above < 0]
    while stack:
        position = stack.pop()
        order.append(position)
        stack.extend(sorted(children[position], key=reach.__getitem__, reverse=True))
    rank = [0] * len(parent)
    for place, position in enumerate(reversed(order)):
        rank[position] = place
    return rank
