"""One sampled backward pass: from a call of ``backward`` to rows of the sites table."""

from __future__ import annotations

import math
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from headwater.watch.activations import Activations, Reading
from headwater.watch.attention import read_attention
from headwater.watch.context import kind_at
from headwater.watch.door import Call
from headwater.watch.expressions import find_expressions
from headwater.watch.forms import Form
from headwater.watch.graph import Edges, Walk, walk
from headwater.watch.ledger import scalars, settle
from headwater.watch.names import Names
from headwater.watch.outputs import (
    Output,
    activation_output,
    dtype_name,
    kept_output,
    output_columns,
    output_scalars,
)
from headwater.watch.shapes import Shape, attending, calls_of, comparing, new_shape, readable
from headwater.watch.sites import SiteTable
from headwater.watch.stacks import NOWHERE, STACKS, Place
from headwater.watch.statistics import Scalar, combine, norm
from headwater.watch.tap import Tap
from headwater.watch.targets import (
    TARGET_FIGURES,
    Targets,
    read_targets,
    target_columns,
    target_scalars,
)

_SHAPES = 64  # plans kept; sequences of every length would fill the memory with theirs
_READ = tuple(name for name in Reading.__dataclass_fields__ if name != "units")
_Key = tuple[tuple[str, ...], Edges, tuple[tuple[int, int | None], ...]]


@dataclass(slots=True)
class GraphSample:
    """One backward pass under the tap; grows when another starts inside it.

    ``moment`` tells a leaf that stays from one that passes by: the latter is met at one only. The
    inner pass of a double backward has none, since the outer pass meets its leaves again.
    """

    step: int
    backward: int
    moment: int | None
    tap: Tap
    sites: list[int] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    parameters: list[int | None] = field(default_factory=list)
    onward: list[list[int]] = field(default_factory=list)
    readings: dict[int, Reading] = field(default_factory=dict)
    outputs: dict[int, Output] = field(default_factory=dict)
    targets: dict[int, Targets] = field(default_factory=dict)
    numbers: dict[Any, int] = field(default_factory=dict)
    passes: list[int] = field(default_factory=list)
    looped: set[int] = field(default_factory=set)
    lowest: tuple[int, ...] = ()
    compiled_nodes: int = 0
    compiled_leaves: set[int] = field(default_factory=set)

    def reached(self) -> set[int]:
        """Return the parameters that got a gradient in this pass."""
        ends = zip(self.parameters, self.tap.measured.arriving, strict=True)
        return {leaf for leaf, size in ends if leaf is not None and size is not None}

    def scalars(self) -> list[Any]:
        """Return all that was measured, to be fetched together."""
        values: list[Any] = [*scalars(self.tap.measured)]
        for reading in self.readings.values():
            values.extend(getattr(reading, name) for name in _READ)
        return values + output_scalars(self.outputs) + target_scalars(self.targets)

    def columns(self, fetched: Sequence[Any]) -> dict[str, list[Any]]:
        """Return the rows of ``sites.arrow`` from the fetched numbers."""
        measured = self.tap.measured
        targets = len(fetched) - TARGET_FIGURES * len(self.targets)
        end = targets - 2 * len(self.outputs)
        numbers = fetched[:end]
        account = settle(measured, numbers, self.onward)
        first = len(numbers) - len(_READ) * len(self.readings)
        columns: dict[str, list[Any]] = {
            "step": [self.step] * len(account.node),
            "backward": [self.backward] * len(account.node),
            "node": account.node,
            "parent": account.parent,
            "site": [self.sites[node] for node in account.node],
            "call": self._calls_of(account.node),
            "edge_decades": account.edge,
            "junction_decades": account.junction,
            "level": account.level,
            "gain": account.gain,
            "elements": [measured.elements[node] for node in account.node],
            "parameter": [self.parameters[node] for node in account.node],
            "dtype": [dtype_name(measured.dtypes[node]) for node in account.node],
            **output_columns(self.outputs, fetched[end:targets], account.node),
            **target_columns(self.targets, fetched[targets:], account.node),
        }
        by_node: dict[int, Sequence[float | None]] = {
            node: numbers[first + i * len(_READ) : first + (i + 1) * len(_READ)]
            for i, node in enumerate(self.readings)
        }
        units = {node: reading.units for node, reading in self.readings.items()}
        columns["units"] = [units.get(node) for node in account.node]
        nothing: Sequence[float | None] = [None] * len(_READ)
        for place, name in enumerate(_READ):
            columns[name] = [by_node.get(node, nothing)[place] for node in account.node]
        return columns

    def _calls_of(self, nodes: list[int]) -> list[int]:
        """Number each site's calls in forward order: passes within this one ran in reverse."""
        if len(self.passes) == 1:
            return [self.calls[node] for node in nodes]
        order = sorted(nodes, key=lambda n: (-bisect(self.passes, n), self.calls[n]))
        counts: Counter[int] = Counter()
        calls: dict[int, int] = {}
        for node in order:
            calls[node] = counts[self.sites[node]]
            counts[self.sites[node]] += 1
        return [calls[node] for node in nodes]


class Sampler:
    """Attaches to backward passes and knows the shapes met so far."""

    def __init__(self, names: Names, sites: SiteTable, fault: Callable[[Exception], None]) -> None:
        self.unknown: dict[str, int] = {}
        self.expressions: dict[int, Form] = {}
        self._names = names
        self._sites = sites
        self._fault = fault
        self._shapes: dict[_Key, Shape] = {}
        self._activations = Activations()
        self._shared: set[int] = set()
        self._wild = False

    @property
    def tame(self) -> bool:
        """Whether all graphs met are: a bad gradient comes with a bad loss, or by an overflow."""
        return bool(self._shapes) and not self._wild

    def begin(self, call: Call, step: int, backward: int, moment: int) -> GraphSample | None:
        """Hook the graph of a call; None if there is none."""
        edges = _root_edges(call)
        if not edges:
            return None
        seen_at = None if call.creates_graph else moment
        sample = GraphSample(step, backward, seen_at, Tap(self._fault, self._shared))
        try:
            self._hook(sample, call, edges)
        except BaseException:  # no hook of half a graph may stay
            sample.tap.detach()
            raise
        return sample

    def _hook(self, sample: GraphSample, call: Call, edges: list[tuple[Any, int, Scalar]]) -> None:
        several = len({node for node, _, _ in edges}) > 1
        if several:
            self._virtual_root(sample)
        numbers = self._attach(sample, edges, virtual_root=several)
        if call.is_grad:
            sample.numbers = numbers
        if several:
            sample.tap.measured.arriving[0] = combine([size for _, _, size in edges])
            sample.tap.measured.elements[0] = len(edges)
            for node, _, size in edges:
                sample.tap.send(0, numbers[node], size)

    def nest(self, sample: GraphSample, call: Call) -> None:
        """Hook a backward pass that starts inside the sampled one."""
        parent, edges = sample.tap.current, _root_edges(call)
        if parent is None or not edges:
            return
        numbers = self._attach(sample, edges, virtual_root=False)
        for node, _, size in edges:
            sample.tap.send(parent, numbers[node], size)
            sample.onward[parent].append(numbers[node])

    def meet(self, call: Call, moment: int) -> None:
        """Learn which parameters a call reaches, where no sample has told yet."""
        for node in walk([node for node, _, _ in _root_edges(call)]).nodes:
            if node.name().endswith("AccumulateGrad"):
                self._names.index_of_leaf(node.variable, moment)

    def capture(self, sample: GraphSample, call: Call, results: Sequence[Tensor | None]) -> None:
        """Take the gradients that ``torch.autograd.grad`` hands back instead of storing."""
        for tensor, gradient in zip(call.inputs or (), results, strict=False):
            if gradient is None or not tensor.requires_grad:
                continue
            edge = torch.autograd.graph.get_gradient_edge(tensor)
            number = sample.numbers.get(edge.node)
            if number is not None:
                sample.tap.capture(number, gradient)

    def _virtual_root(self, sample: GraphSample) -> None:
        sample.sites.append(self._sites.number("roots", "loss", NOWHERE, None))
        sample.calls.append(0)
        sample.parameters.append(None)
        sample.onward.append([])

    def _attach(
        self, sample: GraphSample, edges: list[tuple[Any, int, Scalar]], *, virtual_root: bool
    ) -> dict[Any, int]:
        graph = walk([node for node, _, _ in edges])
        shape = self._shape(graph, sample.moment)
        base = len(sample.sites)
        before = Counter(sample.sites)
        calls = [call + before[s] for s, call in zip(shape.sites, shape.calls, strict=True)]
        for node, reading in self._read(graph, shape, calls):
            sample.readings[base + node] = reading
        for node, output in self._outputs(graph, shape):
            sample.outputs[base + node] = output
        for node in shape.comparing:
            targets = read_targets(graph.nodes[node], shape.plan.operations[node])
            if targets is not None:
                sample.targets[base + node] = targets
        numbers = sample.tap.attach(graph, shape.plan, virtual_root=virtual_root)
        sample.sites.extend(shape.sites)
        sample.calls.extend(calls)
        sample.passes.append(base)
        sample.parameters.extend(shape.parameters.get(n) for n in range(len(graph.nodes)))
        sample.onward.extend([[numbers[c] for c in children] for children in shape.onward])
        sample.looped |= shape.looped
        sample.lowest = shape.lowest or sample.lowest  # a pass within this one is further down
        self._note_unseen(sample, graph, shape)
        return dict(zip(graph.nodes, numbers, strict=True))

    def _read(self, graph: Walk, shape: Shape, calls: list[int]) -> list[tuple[int, Reading]]:
        found = []
        with torch.no_grad():
            for node in shape.readable:
                reading = self._activations.read(
                    graph.nodes[node],
                    shape.plan.operations[node],
                    shape.plan.unit_axis[node],
                    [graph.nodes[move] for move in shape.plan.moves[node]],
                    (shape.sites[node], calls[node]),
                )
                if reading is not None:
                    found.append((node, reading))
        attention = [(node, read_attention(graph.nodes[node])) for node in shape.attending]
        return found + [(node, reading) for node, reading in attention if reading is not None]

    @staticmethod
    def _outputs(graph: Walk, shape: Shape) -> list[tuple[int, Output]]:
        made = [
            (node, activation_output(graph.nodes[node], shape.plan.operations[node]))
            for node in shape.readable
        ]
        made += [
            (kept.node, kept_output(graph.nodes[kept.by], kept.name)) for kept in shape.outputs
        ]
        return [(node, output) for node, output in made if output is not None]

    def _shape(self, graph: Walk, moment: int | None) -> Shape:
        places = [STACKS.place_of(node) for node in graph.nodes]
        self._meet_roots(places)  # first, so that parameters are numbered as their module has them
        leaves = {
            number: self._names.index_of_leaf(graph.nodes[number].variable, moment)
            for number, name in enumerate(graph.names)
            if name.endswith("AccumulateGrad")
        }
        key = (graph.names, graph.edges, tuple(leaves.items()))
        shape = self._shapes.get(key)
        if shape is None:
            if len(self._shapes) >= _SHAPES:
                self._shapes.pop(next(iter(self._shapes)))
            shape = self._shapes[key] = new_shape(graph, leaves)
            self._wild = self._wild or not shape.tame
        if places != shape.places:
            self._site(graph, shape, places)
        return shape

    def _meet_roots(self, places: list[Place]) -> None:
        for place in dict.fromkeys(places):
            root = place.root()
            if root is not None:
                self._names.add_root(root)

    def _site(self, graph: Walk, shape: Shape, places: list[Place]) -> None:
        plan = shape.plan
        shape.places = places
        shape.sites, shape.kinds = [], []
        for node, place in enumerate(places):
            parameter = shape.parameters.get(node)
            operation = plan.operations[node]
            kind = kind_at(place, operation, plan.kinds[node], plan.own[node], places[0])
            if operation == "AccumulateGrad":
                operation = "parameter" if parameter is not None else "input"
                kind = "parameter" if parameter is not None else "shape"
            shape.kinds.append(kind)
            shape.sites.append(self._sites.number(operation, kind, place, parameter))
        shape.calls = calls_of(graph, shape.sites)
        shape.readable, shape.attending = readable(shape), attending(shape)
        shape.comparing = comparing(shape)
        self._express(graph, shape)

    def _express(self, graph: Walk, shape: Shape) -> None:
        """Look for expressions that have a stable form, and for what they make on the way."""
        found = find_expressions(graph, shape.plan.operations, shape.places)
        for one in found:
            self.expressions.setdefault(shape.sites[one.node], one.form)
        first = {shape.sites[one.node]: one for one in reversed(found)}
        shape.outputs = [kept for one in first.values() for kept in one.kept]

    def _note_unseen(self, sample: GraphSample, graph: Walk, shape: Shape) -> None:
        for node, kind in enumerate(shape.kinds):
            if kind == "other":
                name = graph.names[node]
                self.unknown[name] = self.unknown.get(name, 0) + 1
            elif kind == "compiled":
                sample.compiled_nodes += 1
                for child, _ in graph.edges[node]:
                    parameter = shape.parameters.get(child)
                    if parameter is not None:
                        sample.compiled_leaves.add(parameter)


def _root_edges(call: Call) -> list[tuple[Any, int, Scalar]]:
    """Return (node, output, norm of the gradient it starts with) for each root."""
    gradients: Sequence[Tensor | None] = call.gradients
    if len(gradients) != len(call.roots):
        gradients = [None] * len(call.roots)
    edges = []
    for root, gradient in zip(call.roots, gradients, strict=True):
        if root.requires_grad:
            edge = torch.autograd.graph.get_gradient_edge(root)
            size = norm(gradient) if gradient is not None else math.sqrt(root.numel())
            edges.append((edge.node, edge.output_nr, size))
    return edges
