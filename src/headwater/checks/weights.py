"""The weights that a node of a graph multiplies by, as theory describes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from headwater.theory.layers import Convolution, Dense, Layer, NotCovered, taps_inside
from headwater.watch.saved import saved
from headwater.watch.single import Made

_PLACE_OF_WEIGHT = {"Addmm": 2, "Mm": 1, "Convolution": 1, "Linear": 1}
_PLACE_OF_BIAS = {"Addmm": 0, "Convolution": 2, "Linear": 2}
_MATTERS = 0.1
"""Mean^2 times fan-in over the variance, beyond which the mean passes a share of the signal."""
_CHANCE = 25.0
"""The same times the number of entries, beyond which it is no chance: five standard errors."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One weight, as its node uses it.

    Attributes:
        name: The parameter's.
        bias: The bias's name, empty without one.
        tensor: The parameter itself.
        fan_in: Entries that are summed for one unit.
        width: Units, or channels, that it makes.
        units_first: Whether its first axis counts the units.
    """

    name: str
    bias: str
    tensor: Tensor
    fan_in: int
    width: int
    units_first: bool

    @property
    def variance(self) -> float:
        """Fan-in times the mean square of an entry."""
        return self.fan_in * float(self.tensor.detach().double().square().mean())

    @property
    def shifted(self) -> bool:
        """Whether the mean entry is not 0, beyond chance, and large enough to matter."""
        entries = self.tensor.detach().double()
        variance = float(entries.var(correction=0))
        square = float(entries.mean()) ** 2
        return square * self.fan_in > _MATTERS * variance and (
            square * entries.numel() > _CHANCE * variance
        )


def weights_of(made: Made, number: int) -> Weights | None:
    """Return the weight that a dense layer's or a convolution's node uses; None if it is computed.

    A weight that comes transposed has its units first.
    """
    operation, edges = made.plan.operations[number], made.graph.edges[number]
    place = _PLACE_OF_WEIGHT.get(operation)
    found = _leaf(made, edges[place][0]) if place is not None and place < len(edges) else None
    if found is None:
        return None
    leaf, turned = found
    tensor = made.graph.nodes[leaf].variable
    units_first = turned or operation in ("Convolution", "Linear")
    if tensor.dim() < 2 or (operation != "Convolution" and tensor.dim() != 2):
        return None
    width = tensor.shape[0] if units_first else tensor.shape[1]
    at = _PLACE_OF_BIAS.get(operation)
    bias = _leaf(made, edges[at][0]) if at is not None and at < len(edges) else None
    return Weights(
        name=made.leaves[leaf],
        bias=made.leaves[bias[0]] if bias is not None else "",
        tensor=tensor,
        fan_in=tensor.numel() // width,
        width=width,
        units_first=units_first,
    )


def layer_of(made: Made, number: int, weights: Weights, name: str) -> Layer:
    """Return what theory should know of a layer of weights."""
    node = made.graph.nodes[number]
    if made.plan.operations[number] == "Convolution" and node._saved_transposed:
        return NotCovered(name=name, why="a transposed convolution overlaps unevenly")
    if weights.variance == 0:
        return NotCovered(name=name, why="its weights are all 0: nothing passes")
    if weights.shifted:
        why = f"its weights have mean {float(weights.tensor.mean()):.2g}; theory takes them about 0"
        return NotCovered(name=name, why=why)
    bias = _bias_square(made, number)
    if made.plan.operations[number] != "Convolution":
        return Dense(
            weight_variance=weights.variance, bias_variance=bias, width=weights.width, name=name
        )
    return Convolution(
        weight_variance=weights.variance,
        bias_variance=bias,
        width=weights.width,
        inside=_inside(node, weights.tensor),
        name=name,
    )


def _bias_square(made: Made, number: int) -> float:
    place = _PLACE_OF_BIAS.get(made.plan.operations[number])
    edges = made.graph.edges[number]
    leaf = _leaf(made, edges[place][0]) if place is not None and place < len(edges) else None
    return mean_square(made.graph.nodes[leaf[0]].variable) if leaf is not None else 0.0


def mean_square(tensor: Tensor) -> float:
    """Return the mean square of a tensor's entries."""
    return float(tensor.detach().double().square().mean())


def _inside(node: Any, kernel: Tensor) -> float:
    """Share of the kernel's taps that do not fall on padding; 1 where the image is not known."""
    image = saved(node, "input")
    if image is None:
        return 1.0
    share = 1.0
    sizes: Sequence[int] = image.shape[2:]
    for axis, size in enumerate(sizes):
        padding, stride = int(node._saved_padding[axis]), int(node._saved_stride[axis])
        reach = (kernel.shape[2 + axis] - 1) * int(node._saved_dilation[axis]) + 1
        if padding:
            share *= taps_inside(size, reach, padding, stride)
    return share


def _leaf(made: Made, number: int) -> tuple[int, bool] | None:
    """Return the parameter at the end of an edge, and whether it comes transposed."""
    turned = False
    while number >= 0:
        if number in made.leaves:
            return number, turned
        operation, edges = made.plan.operations[number], made.graph.edges[number]
        if operation in ("T", "Transpose"):
            turned = not turned
        elif operation not in ("ToCopy", "View", "Clone", "Alias"):
            return None
        number = edges[0][0] if len(edges) == 1 else -1
    return None


def bias_at(made: Made, number: int) -> Tensor | None:
    """Return the one parameter that a sum adds to the signal, or None."""
    leaves = [
        found
        for (child, _), carries in zip(
            made.graph.edges[number], made.plan.signal[number], strict=True
        )
        if child >= 0 and not carries and (found := _leaf(made, child)) is not None
    ]
    tensor = made.graph.nodes[leaves[0][0]].variable if len(leaves) == 1 else None
    return tensor if isinstance(tensor, torch.Tensor) else None
