"""The walk over an autograd graph, and the plan: what is the same for all graphs of one shape.

A training loop builds a new graph every step, almost always of the same shape. The walk collects
its nodes; the plan says what each is. Plans are kept, so only the walk is paid again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from headwater.records import Kind
from headwater.watch.operations import (
    ARITHMETIC,
    ISOMETRIES,
    PRODUCTS,
    base_kind,
    operation_name,
)

Edges = tuple[tuple[tuple[int, int], ...], ...]
"""For each node and each of its inputs: (number of the child, which of its outputs); -1 if none."""

_CHANNELS_FIRST = ("Convolution", "BatchNorm", "GroupNorm", "InstanceNorm")
_FEATURES_LAST = ("Mm", "Addmm", "Linear", "LayerNorm", "Bmm", "RmsNorm", "Embedding")
_PASSES_LOSS = ("loss", "shape", "precision", "junction", "attention")
_MOVES = ("Transpose", "Permute")
_OF_VECTORS = ("Mv", "Dot", "Vdot")
_HOPS = 12  # how far below an activation its layer is looked for


@dataclass(frozen=True, slots=True)
class Walk:
    """The nodes of one graph in the order of discovery from the roots, and how they connect."""

    nodes: list[Any]
    names: tuple[str, ...]
    edges: Edges


def walk(roots: Sequence[Any]) -> Walk:
    """Collect every node reachable from the roots; iteratively, as graphs are deep.

    Example:
        >>> import torch
        >>> y = torch.ones(2, requires_grad=True).exp().sum()
        >>> walk([y.grad_fn]).names
        ('SumBackward0', 'ExpBackward0', 'torch::autograd::AccumulateGrad')
    """
    index: dict[Any, int] = {}
    nodes: list[Any] = []
    following: list[Any] = []
    stack = list(reversed(roots))
    while stack:
        node = stack.pop()
        if node in index:
            continue
        index[node] = len(nodes)
        nodes.append(node)
        children = node.next_functions
        following.append(children)
        for child, _ in reversed(children):
            if child is not None and child not in index:
                stack.append(child)
    edges = tuple(
        tuple((index[child], slot) if child is not None else (-1, 0) for child, slot in children)
        for children in following
    )
    return Walk(nodes=nodes, names=tuple([node.name() for node in nodes]), edges=edges)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is known of every node of a graph's shape; lists are indexed by node number.

    ``own`` are the kinds that operations would have if the loss did not reach down to them.
    ``contributions`` counts the edges that end in a node, ``signal`` tells for each of its edges
    whether it carries the signal on rather than ending in a parameter, ``isometric`` whether its
    backward only moves entries. ``unit_axis`` is where the layer below an activation has its units
    (None: unknown), and ``moves`` are the nodes that move axes from there on.
    """

    operations: tuple[str, ...]
    kinds: tuple[Kind, ...]
    own: tuple[Kind, ...]
    contributions: tuple[int, ...]
    signal: tuple[tuple[bool, ...], ...]
    isometric: tuple[bool, ...]
    unit_axis: tuple[int | None, ...]
    moves: tuple[tuple[int, ...], ...]


def make_plan(names: Sequence[str], edges: Edges, parameter_leaves: frozenset[int]) -> Plan:
    """Work out what each node of a graph is from its name and from what is around it."""
    operations = tuple(operation_name(name) for name in names)
    base: list[Kind] = [base_kind(operation) for operation in operations]
    parents: list[list[int]] = [[] for _ in names]
    for node, children in enumerate(edges):
        for child, _ in children:
            if child >= 0:
                parents[child].append(node)
    order = _topological(edges, [len(p) for p in parents])
    to_parameter = _parameter_branches(order, operations, base, edges, parameter_leaves)
    signal = tuple(
        tuple(child >= 0 and not to_parameter[child] for child, _ in children) for children in edges
    )
    by_parameter = tuple(
        any(child >= 0 and to_parameter[child] for child, _ in children) for children in edges
    )
    made_of_weights = _made_of_weights(order, operations, edges, parameter_leaves)
    factors = [sum(c >= 0 and not made_of_weights[c] for c, _ in children) for children in edges]
    refined = tuple(
        _kind_among(
            operations[node],
            base[node],
            factors[node] if operations[node] in PRODUCTS else sum(signal[node]),
            by_parameter[node],
        )
        for node in range(len(edges))
    )
    kinds = _with_loss(order, operations, refined, parents)
    units = [
        _units(node, operations, edges, signal) if kind == "activation" else (None, ())
        for node, kind in enumerate(kinds)
    ]
    return Plan(
        operations=operations,
        kinds=kinds,
        own=refined,
        contributions=tuple(len(p) for p in parents),
        signal=signal,
        isometric=tuple(
            operation in ISOMETRIES and sum(child >= 0 for child, _ in children) == 1
            for operation, children in zip(operations, edges, strict=True)
        ),
        unit_axis=tuple([axis for axis, _ in units]),
        moves=tuple([moves for _, moves in units]),
    )


def _topological(edges: Edges, arriving: list[int]) -> list[int]:
    waiting = list(arriving)
    ready = [node for node, count in enumerate(waiting) if count == 0]
    order: list[int] = []
    while ready:
        node = ready.pop()
        order.append(node)
        for child, _ in edges[node]:
            if child >= 0:
                waiting[child] -= 1
                if waiting[child] == 0:
                    ready.append(child)
    return order


def _parameter_branches(
    order: list[int],
    operations: Sequence[str],
    base: Sequence[Kind],
    edges: Edges,
    parameter_leaves: frozenset[int],
) -> list[bool]:
    """Which nodes lead to nothing but a parameter, over mere changes of shape or dtype."""
    branch = [False] * len(edges)
    for node in reversed(order):
        children = [child for child, _ in edges[node] if child >= 0]
        if not children:
            branch[node] = node in parameter_leaves
        elif base[node] in ("shape", "precision") and operations[node] not in ARITHMETIC:
            branch[node] = all(branch[child] for child in children)
    return branch


def _made_of_weights(
    order: list[int],
    operations: Sequence[str],
    edges: Edges,
    parameter_leaves: frozenset[int],
) -> list[bool]:
    """Which nodes compute a weight from parameters (its norm, a mask, a product of two).

    A product that lacks an edge may have the network's input there.
    """
    made = [False] * len(edges)
    for node in reversed(order):
        children = [child for child, _ in edges[node] if child >= 0]
        operation = operations[node]
        if not children:
            made[node] = node in parameter_leaves
        else:
            product = operation in PRODUCTS
            closed = len(children) == len(edges[node]) or not product or operation in _OF_VECTORS
            kind = base_kind(operation)
            mixes = product or kind in ("shape", "precision") or operation == "WeightNormInterface"
            made[node] = closed and mixes and all(made[child] for child in children)
    return made


def _with_loss(
    order: list[int],
    operations: Sequence[str],
    refined: Sequence[Kind],
    parents: list[list[int]],
) -> tuple[Kind, ...]:
    """Call the arithmetic between the roots and the network the loss's own."""
    kinds = list(refined)
    in_loss = [False] * len(kinds)
    for node in order:
        operation, kind = operations[node], refined[node]
        arithmetic = operation in ARITHMETIC and kind != "junction"
        in_loss[node] = all(in_loss[parent] for parent in parents[node]) and (
            arithmetic or kind in _PASSES_LOSS
        )
        if in_loss[node] and (arithmetic or operation == "Softmax"):
            kinds[node] = "loss"
    return tuple(kinds)


def _kind_among(operation: str, base: Kind, signals: int, by_parameter: bool) -> Kind:
    """Refine a kind by how many branches of the signal an operation joins, and with a parameter."""
    if operation in PRODUCTS:
        return "attention" if signals >= 2 else "weights"
    if operation in ("Add", "Sub"):
        return "junction" if signals >= 2 else "shape"
    if operation in ("Mul", "Div", "Addcmul", "Addcdiv"):
        if signals >= 2:
            return "attention"
        return "weights" if by_parameter else "shape"
    if base == "junction" and signals < 2:
        return "shape"
    return base


def _units(
    node: int,
    operations: Sequence[str],
    edges: Edges,
    signal: tuple[tuple[bool, ...], ...],
) -> tuple[int | None, tuple[int, ...]]:
    """Return where the layer below a node has its units, and what moves axes on the way here."""
    moves: list[int] = []
    for _ in range(_HOPS):
        onward = [
            child for (child, _), carries in zip(edges[node], signal[node], strict=True) if carries
        ]
        if not onward:
            break
        node = onward[0]
        if operations[node] in _MOVES:
            moves.insert(0, node)
        if any(name in operations[node] for name in _CHANNELS_FIRST):
            return 1, tuple(moves)
        if any(name in operations[node] for name in _FEATURES_LAST):
            return -1, tuple(moves)
    return None, ()
