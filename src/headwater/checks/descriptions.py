"""A measured graph as theory reads it: from the network's input on, layer by layer."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from headwater.checks.functions import activation_of, composite_of
from headwater.checks.structure import Fork, Part, Step, signal_way
from headwater.checks.weights import Weights, bias_at, layer_of, mean_square, weights_of
from headwater.theory.layers import (
    Activate,
    AveragePool,
    BatchNorm,
    Convolution,
    Dense,
    Dropout,
    Layer,
    LayerNorm,
    MaxPool,
    NotCovered,
    Residual,
    RMSNorm,
    Scale,
)
from headwater.watch.forward import Output
from headwater.watch.saved import saved
from headwater.watch.single import Made
from headwater.watch.stacks import Place

_PASSES = frozenset(
    """
    View UnsafeView ReshapeAlias T Transpose Permute Squeeze Unsqueeze Alias Clone Slice Select
    Narrow Split SplitWithSizes Unbind Index IndexSelect ConstantPadNd Flip Roll ToCopy Contiguous
    BackwardHookFunction Neg PixelShuffle PixelUnshuffle ChannelShuffle CheckpointFunction
    """.split()
)
"""Operations that hand entries on: the gradient's norm goes through unchanged."""

_AVERAGES = ("Mean", "AvgPool2D", "AvgPool3D", "AdaptiveAvgPool2D", "AdaptiveAvgPool3D")
_SAME = 1e-6  # relative; a sum that changes the mean square by less adds nothing


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One layer of a network: what theory reads, and the node that stands for it.

    Attributes:
        node: Whose output is the layer's, and whose arriving gradient is that of the output.
        layer: As theory has it.
        output: What was measured of the output, None where it was not.
        place: Where it stands.
        weights: What a layer of weights multiplies by.
        branches: Of a sum or product of several ways, each in its own order.
    """

    node: int
    layer: Layer
    output: Output | None
    place: Place
    weights: Weights | None = None
    branches: tuple[tuple[Stage, ...], ...] = ()


def describe(made: Made, outputs: Mapping[Any, Output]) -> tuple[Stage, ...]:
    """Return the stages of a network from its input on.

    To be called before the backward pass frees what nodes saved.
    """
    way = signal_way(made.graph.edges, made.plan.signal, made.end)
    return _Reader(made, outputs).stages(way)


def flat(stages: Iterable[Stage]) -> list[Stage]:
    """Return all stages in the order of the forward pass, those of branches before their join."""
    found: list[Stage] = []
    for stage in stages:
        for branch in stage.branches:
            found += flat(branch)
        found.append(stage)
    return found


@dataclass(slots=True)
class _Reader:
    made: Made
    outputs: Mapping[Any, Output]
    names: dict[str, int] = field(default_factory=dict)

    def stages(self, way: Sequence[Part], before: Output | None = None) -> tuple[Stage, ...]:
        found: list[Stage] = []
        for part in way:
            if isinstance(part, Fork):
                found.append(self._fork(part, before))
            else:
                self._step(part, found, before)
            before = found[-1].output if found else before
        return tuple(found)

    # ------------------------------------------------------------ one node

    def _step(self, part: Step, found: list[Stage], before: Output | None) -> None:
        node, operation = part.node, self.made.plan.operations[part.node]
        output = self.outputs.get(self.made.graph.nodes[node])
        if operation in _PASSES:
            if found and found[-1].output is None:
                found[-1] = replace(found[-1], output=output)
            return
        if operation in ("Add", "Sub") and self._is_bias(node, output, found, before):
            return
        if operation == "Pow" and found and _is_relu(found[-1].layer) and self._squares(node):
            layer = Activate(activation="relu2", width=_width(before))
            found[-1] = replace(found[-1], layer=layer, node=node, output=output)
            return
        found.append(self._stage(node, operation, output, before))

    def _squares(self, node: int) -> bool:
        return float(self.made.graph.nodes[node]._saved_exponent) == 2.0

    def _stage(
        self, node: int, operation: str, output: Output | None, before: Output | None
    ) -> Stage:
        weights = weights_of(self.made, node)
        name = self._name(node, operation)
        if weights is not None:
            layer = layer_of(self.made, node, weights, name)
        else:
            layer = self._without_weights(node, operation, name, output, before)
        return Stage(
            node=node, layer=layer, output=output, place=self.made.places[node], weights=weights
        )

    def _without_weights(
        self, node: int, operation: str, name: str, output: Output | None, before: Output | None
    ) -> Layer:
        graph_node, called = self.made.graph.nodes[node], self.made.places[node].called
        activation = activation_of(graph_node, operation)
        if activation is not None:
            return Activate(activation=activation, width=_width(before))
        if "dropout" in called or "Dropout" in operation:
            return Dropout(rate=self._rate(node, output, before), name=name)
        if self.made.plan.kinds[node] == "normalisation":
            return self._normalisation(node, operation, name)
        if output is None or before is None:
            return NotCovered(name=name)
        return _measured(operation, name, output, before)

    def _normalisation(self, node: int, operation: str, name: str) -> Layer:
        graph_node = self.made.graph.nodes[node]
        gain = saved(graph_node, "weight")
        scale = math.sqrt(mean_square(gain)) if gain is not None else 1.0
        if "BatchNorm" in operation:
            if not getattr(graph_node, "_saved_training", True):
                return NotCovered(name=name, why="batch norm by running statistics is a constant")
            return BatchNorm(scale=scale, name=name)
        if operation in ("NativeLayerNorm", "NativeGroupNorm"):
            return LayerNorm(scale=scale, name=name)
        if operation == "FusedRmsNorm":
            return RMSNorm(scale=scale, name=name)
        return NotCovered(name=name, why="a normalisation written in single operations")

    def _rate(self, node: int, output: Output | None, before: Output | None) -> float:
        """Return the dropout's own rate; by what it did where it is a function."""
        rate = getattr(self.made.places[node].module(), "p", None)
        if isinstance(rate, float):
            return rate
        if output is None or before is None or not before.mean_square:
            return 0.0
        return max(0.0, 1 - before.mean_square / output.mean_square) if output.mean_square else 0.0

    def _is_bias(
        self, node: int, output: Output | None, found: list[Stage], before: Output | None
    ) -> bool:
        """Take a sum that only adds a bias to the layer before it."""
        bias = bias_at(self.made, node)
        last = found[-1] if found else None
        if bias is not None and last is not None and isinstance(last.layer, Dense | Convolution):
            square = last.layer.bias_variance + mean_square(bias)
            layer = replace(last.layer, bias_variance=square)
            found[-1] = replace(last, layer=layer, node=node, output=output)
            return True
        if output is None or before is None:
            return False
        return abs(output.mean_square - before.mean_square) <= _SAME * before.mean_square

    # ------------------------------------------------------------ where ways meet

    def _fork(self, part: Fork, before: Output | None) -> Stage:
        node, operation = part.join, self.made.plan.operations[part.join]
        output = self.outputs.get(self.made.graph.nodes[node])
        place = self.made.places[node]
        inside = tuple(self._operations(branch) for branch in part.branches)
        activation = composite_of(operation, place.called, inside)
        if activation is not None:
            layer: Layer = Activate(activation=activation, width=_width(before))
            return Stage(node=node, layer=layer, output=output, place=place)
        branches = tuple(self.stages(branch, before) for branch in part.branches)
        name = self._name(node, "sum" if operation == "Add" else operation, leaf=False)
        return Stage(
            node=node,
            layer=_joined(operation, self.made.graph.nodes[node], name, branches),
            output=output,
            place=place,
            branches=branches,
        )

    def _operations(self, branch: Sequence[Part]) -> tuple[str, ...]:
        return tuple(
            self.made.plan.operations[part.node] if isinstance(part, Step) else "Fork"
            for part in branch
        )

    def _name(self, node: int, operation: str, *, leaf: bool = True) -> str:
        """Name a layer by its module where that is its own, else by its operation."""
        module, root = self.made.places[node].module(), self.made.places[node].root()
        path = ""
        if module is not None and root is not None and not (leaf and list(module.children())):
            path = next((path for path, each in root.named_modules() if each is module), "")
        return path or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", operation).lower()


def _joined(operation: str, node: Any, name: str, branches: tuple[tuple[Stage, ...], ...]) -> Layer:
    if operation not in ("Add", "Sub") or len(branches) != 2:
        return NotCovered(name=name, why=f"several ways of the signal meet in {operation}")
    layers = [tuple(stage.layer for stage in branch) for branch in branches]
    alpha = float(getattr(node, "_saved_alpha", 1) or 1)
    uncovered = [layer for branch in layers for layer in branch if isinstance(layer, NotCovered)]
    if uncovered:
        return NotCovered(name=name, why=f"in its branch, {uncovered[0].name}: {uncovered[0].why}")
    if not any(layers):
        return Scale(factor=1 + alpha if operation == "Add" else 1 - alpha, name=name)
    fresh = [any(isinstance(layer, Dense | Convolution) for layer in branch) for branch in layers]
    if not any(fresh):
        return NotCovered(name=name, why="its ways have no weights of their own")
    first, second = layers
    if not fresh[1] or (not second and first):
        return Residual(branch=first, skip=second, skip_scale=alpha, name=name)
    return Residual(branch=second, skip=first, branch_scale=alpha, name=name)


def _measured(operation: str, name: str, output: Output, before: Output) -> Layer:
    """Return an operation whose constants are read off what it did to the signal."""
    if operation in _AVERAGES:
        return _average(name, output, before)
    if operation.startswith("MaxPool"):
        return MaxPool(window=_ratio(before, output), name=name)
    if operation in ("Mul", "Div") and before.mean_square > 0:
        return Scale(factor=math.sqrt(output.mean_square / before.mean_square), name=name)
    return NotCovered(name=name)


def _average(name: str, output: Output, before: Output) -> Layer:
    """Take the correlation of positions from what the pooling left of the variance."""
    window = _ratio(before, output)
    variance = before.mean_square - before.mean**2
    if window < 2 or variance <= 0:
        return Scale(factor=1.0, name=name)
    kept = (output.mean_square - before.mean**2) / variance
    correlation = (kept * window - 1) / (window - 1)
    return AveragePool(window=window, correlation=min(max(correlation, 0.0), 1.0), name=name)


def _ratio(before: Output, output: Output) -> int:
    return max(1, round(math.prod(before.shape) / max(1, math.prod(output.shape))))


def _width(output: Output | None) -> int | None:
    """Units of a tensor: channels of images, features of all else."""
    if output is None or not output.shape:
        return None
    return output.shape[1] if len(output.shape) >= 4 else output.shape[-1]


def _is_relu(layer: Layer) -> bool:
    return isinstance(layer, Activate) and layer.activation == "relu"
