"""The memory of a block as the compiled code sees it: a network's shape, sixteen lanes an entry."""

from __future__ import annotations

from typing import Any, NamedTuple

from headwater.lab.compiler import compiled
from headwater.lab.lanes import load, memory, number, splat
from headwater.lab.memory import ROWS

COLUMNS = 9
"""Numbers of a layer in a network's table."""


class Net(NamedTuple):
    """A network's shape; ``batch`` is a whole batch's points.

    ``kind`` and ``values`` are the activation's, as ``pointwise.code_of`` gives them; ``noisy``
    says whether training draws slopes.
    """

    layers: int
    size: int
    hidden: int
    kind: int
    values: tuple[float, float, float]
    bce: bool
    norm: bool
    noisy: bool
    batch: int


class Layer(NamedTuple):
    """A layer's widths and places.

    Where its tensors start among the parameters (-1: it has none), its inputs among all units,
    its units among the hidden ones.
    """

    inputs: int
    outputs: int
    weight: int
    bias: int
    scale: int
    shift: int
    slope: int
    start: int
    unit: int


class Space(NamedTuple):
    """One block: arrays in Python, memories in compiled code; flat, sixteen lanes an entry.

    Attributes:
        net: The shape.
        rows: How many rows a tile can have.
        table: The layers' numbers, integers.
        theta: The parameters.
        gradient: Of the loss by them.
        moments: Batch normalisation's running means, then variances, by hidden unit.
        spread: One over the batch's deviation, by hidden unit.
        a: Every unit's output, by unit and row; the inputs are the first units.
        d: Its derivative by z.
        e: What the way back needs besides: z, or z normalised.
        here: dL/dz of a layer, by unit and row.
        below: The same on its way to the layer below.
        keys: The lanes' keys to their noise.
    """

    net: Net
    rows: int
    table: Any
    theta: Any
    gradient: Any
    moments: Any
    spread: Any
    a: Any
    d: Any
    e: Any
    here: Any
    below: Any
    keys: Any


class Points(NamedTuple):
    """Points of all members, and every lane's row numbers in their own order."""

    total: int
    x: Any
    y: Any
    natural: Any


class Tile(NamedTuple):
    """Which rows are worked on: ``rows`` from ``first``, padded; of a loss over ``whole``.

    ``number`` is the number of the first row's noise for the first hidden unit.
    """

    first: int
    rows: int
    padded: int
    whole: int
    number: int


@compiled
def located(s: Space) -> Space:
    """Return a space of arrays as one of memories."""
    return Space(
        s.net,
        s.rows,
        memory(s.table),
        memory(s.theta),
        memory(s.gradient),
        memory(s.moments),
        memory(s.spread),
        memory(s.a),
        memory(s.d),
        memory(s.e),
        memory(s.here),
        memory(s.below),
        memory(s.keys),
    )


@compiled
def located_points(p: Points) -> Points:
    """Return points in arrays as points in memories."""
    return Points(p.total, memory(p.x), memory(p.y), memory(p.natural))


@compiled
def layer_at(space: Space, index: int) -> Layer:
    """Return one layer's widths and places."""
    at = index * COLUMNS
    table = space.table
    return Layer(
        number(table, at),
        number(table, at + 1),
        number(table, at + 2),
        number(table, at + 3),
        number(table, at + 4),
        number(table, at + 5),
        number(table, at + 6),
        number(table, at + 7),
        number(table, at + 8),
    )


@compiled
def tile_at(space: Space, first: int, stop: int, whole: int, noise: int) -> Tile:
    """Return the tile from ``first``, as large as the space allows, at most to ``stop``."""
    count = min(space.rows, stop - first)
    return Tile(first, count, -(-count // ROWS) * ROWS, whole, noise)


@compiled
def zero_of(space: Space) -> Any:
    """Return sixteen zeros in the network's format."""
    return splat(0.0, load(space.theta, 0))
