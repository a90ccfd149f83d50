"""What is kept for all graphs of one shape: a training loop builds the same one again and again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headwater.records import Kind
from headwater.watch.forms import Kept
from headwater.watch.graph import Plan, Walk, make_plan
from headwater.watch.stacks import Place
from headwater.watch.targets import READ as TARGETS_READ

CALLS_READ = 32
"""Activations read of one site in one pass; an unrolled RNN has one a time step."""


@dataclass(slots=True)
class Shape:
    """What is kept for all graphs of one shape: the plan, and the sites while lines stay put."""

    plan: Plan
    parameters: dict[int, int | None]
    onward: list[list[int]]
    places: list[Place]
    kinds: list[Kind]
    sites: list[int]
    calls: list[int]
    readable: list[int]
    comparing: list[int]
    outputs: list[Kept]


def new_shape(graph: Walk, leaves: Mapping[int, int | None]) -> Shape:
    """Return the shape of a graph, given which leaves are parameters; it has no sites yet."""
    known = frozenset(number for number, parameter in leaves.items() if parameter is not None)
    plan = make_plan(graph.names, graph.edges, known)
    onward = [
        [child for (child, _), carries in zip(children, signal, strict=True) if carries]
        for children, signal in zip(graph.edges, plan.signal, strict=True)
    ]
    return Shape(plan, dict(leaves), onward, [], [], [], [], readable=[], comparing=[], outputs=[])


def calls_of(graph: Walk, sites: Sequence[int]) -> list[int]:
    """Number the calls of each site in the order of the forward pass."""
    order = sorted(range(len(sites)), key=lambda node: graph.nodes[node]._sequence_nr())
    counts: dict[int, int] = {}
    calls = [0] * len(sites)
    for node in order:
        calls[node] = counts.get(sites[node], 0)
        counts[sites[node]] = calls[node] + 1
    return calls


def readable(shape: Shape) -> list[int]:
    """Choose the activations to read: of a long loop over one line, calls evenly spread."""
    counts = Counter(shape.sites)
    return [
        node
        for node, kind in enumerate(shape.kinds)
        if kind == "activation"
        and shape.calls[node] % -(-counts[shape.sites[node]] // CALLS_READ) == 0
    ]


def comparing(shape: Shape) -> list[int]:
    """Choose the losses that keep their targets."""
    return [node for node, name in enumerate(shape.plan.operations) if name in TARGETS_READ]
