"""What is kept for all graphs of one shape: a training loop builds the same one again and again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from headwater.records import Kind
from headwater.watch.attention import ATTENDS
from headwater.watch.forms import Kept
from headwater.watch.graph import Plan, Walk, make_plan
from headwater.watch.operations import TAME
from headwater.watch.stacks import Place
from headwater.watch.targets import READ as TARGETS_READ

_MANY_USES = 10
"""Weights that one pass uses so often are a loop through time, not a layer used twice."""

_LOWEST = 2  # a layer's weights and its bias

CALLS_READ = 32
"""Activations, and softmaxes, read of one site in one pass; an unrolled RNN has one a time step."""


@dataclass(slots=True)
class Shape:
    """What is kept for all graphs of one shape: the plan, and the sites while lines stay put.

    ``tame`` ones have no operation that could make a bad gradient under a finite loss; ``looped``
    are the parameters that one pass uses again and again, ``lowest`` two that the forward pass
    uses first, whose gradients come last.
    """

    plan: Plan
    parameters: dict[int, int | None]
    onward: list[list[int]]
    places: list[Place] = field(default_factory=list)
    kinds: list[Kind] = field(default_factory=list)
    sites: list[int] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    readable: list[int] = field(default_factory=list)
    attending: list[int] = field(default_factory=list)
    comparing: list[int] = field(default_factory=list)
    outputs: list[Kept] = field(default_factory=list)
    tame: bool = False
    looped: frozenset[int] = frozenset()
    lowest: tuple[int, ...] = ()


def new_shape(graph: Walk, leaves: Mapping[int, int | None]) -> Shape:
    """Return the shape of a graph, given which leaves are parameters; it has no sites yet."""
    known = frozenset(number for number, parameter in leaves.items() if parameter is not None)
    plan = make_plan(graph.names, graph.edges, known)
    onward = [
        [child for (child, _), carries in zip(children, signal, strict=True) if carries]
        for children, signal in zip(graph.edges, plan.signal, strict=True)
    ]
    return Shape(
        plan,
        dict(leaves),
        onward,
        tame=TAME.issuperset(plan.operations),
        looped=_used_often(graph, plan, leaves),
        lowest=_used_first(graph, leaves),
    )


def _used_first(graph: Walk, leaves: Mapping[int, int | None]) -> tuple[int, ...]:
    found: dict[int, None] = {}
    for node in forward_order(graph):
        for child, _ in graph.edges[node]:
            parameter = leaves.get(child)
            if parameter is not None:
                found[parameter] = None
        if len(found) >= _LOWEST:
            break
    return tuple(found)[:_LOWEST]


def _used_often(graph: Walk, plan: Plan, leaves: Mapping[int, int | None]) -> frozenset[int]:
    """Return the parameters of many uses; a matrix may be transposed once for all of them."""
    uses = {number: plan.contributions[number] for number in leaves}
    for node, children in enumerate(graph.edges):
        for child, _ in children:
            if child in uses and plan.isometric[node]:
                uses[child] = max(uses[child], plan.contributions[node])
    often = (leaves[number] for number, count in uses.items() if count >= _MANY_USES)
    return frozenset(parameter for parameter in often if parameter is not None)


def forward_order(graph: Walk) -> list[int]:
    """Return the nodes as the forward pass made them; leaves, which it did not, come last."""
    return sorted(range(len(graph.nodes)), key=lambda node: graph.nodes[node]._sequence_nr())


def calls_of(graph: Walk, sites: Sequence[int]) -> list[int]:
    """Number the calls of each site in the order of the forward pass."""
    counts: dict[int, int] = {}
    calls = [0] * len(sites)
    for node in forward_order(graph):
        calls[node] = counts.get(sites[node], 0)
        counts[sites[node]] = calls[node] + 1
    return calls


def readable(shape: Shape) -> list[int]:
    """Choose the activations to read: of a long loop over one line, calls evenly spread."""
    return _spread(shape, [n for n, kind in enumerate(shape.kinds) if kind == "activation"])


def attending(shape: Shape) -> list[int]:
    """Choose the softmaxes of attention to read, likewise."""
    names, kinds = shape.plan.operations, shape.kinds
    return _spread(
        shape, [n for n, kind in enumerate(kinds) if kind == "attention" and names[n] == ATTENDS]
    )


def _spread(shape: Shape, nodes: Sequence[int]) -> list[int]:
    counts = Counter(shape.sites)
    return [n for n in nodes if shape.calls[n] % -(-counts[shape.sites[n]] // CALLS_READ) == 0]


def comparing(shape: Shape) -> list[int]:
    """Choose the losses that keep their targets."""
    return [node for node, name in enumerate(shape.plan.operations) if name in TARGETS_READ]
