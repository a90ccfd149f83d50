"""The way back: losses, and the gradient of every tensor of sixteen networks, compiled."""

from __future__ import annotations

from typing import Any

from headwater.lab.compiler import compiled
from headwater.lab.elementary import exp, log1p
from headwater.lab.lanes import (
    gather,
    if_greater,
    load,
    size,
    splat,
    store,
    unless_at_most,
    widened,
)
from headwater.lab.memory import LANES, ROWS
from headwater.lab.pointwise import sigmoid
from headwater.lab.space import Layer, Points, Space, Tile, layer_at, zero_of


@compiled
def entry_loss(z: Any, y: Any, bce: bool) -> Any:
    """Return the loss of one output of one point; of logits without overflow, as torch does."""
    if bce:
        return unless_at_most(z, 0.0, z, 0.0) - z * y + log1p(exp(-size(z)))
    return (z - y) * (z - y)


@compiled
def judge(space: Space, points: Points, picked: Any, tile: Tile) -> Any:
    """Return the tile's sum of losses and how many outputs are told rightly, in float64.

    Leaves dL/dz of the outputs in ``here``; L is the mean over the whole batch's points and the
    outputs.
    """
    last = layer_at(space, space.net.layers - 1)
    total, hits = widened(zero_of(space)), widened(zero_of(space))
    one, zero = zero_of(space) + 1.0, zero_of(space)
    share = 1.0 / (tile.whole * last.outputs)
    for unit in range(last.outputs):
        at = (last.start + last.inputs + unit) * space.rows
        for row in range(tile.rows):
            z = load(space.a, at + row)
            y = gather(points.y, picked, (tile.first + row) * LANES, last.outputs, unit)
            total += widened(entry_loss(z, y, space.net.bce))
            hit = if_greater(z, 0.0, if_greater(y, 0.5, one, zero), if_greater(y, 0.5, zero, one))
            hits += widened(hit)
            back = sigmoid(z) - y if space.net.bce else 2.0 * (z - y)
            store(space.here, unit * space.rows + row, back * share)
        for row in range(tile.rows, tile.padded):
            store(space.here, unit * space.rows + row, zero)
    return total, hits


@compiled
def backward(space: Space, tile: Tile) -> None:
    """Add the tile's part to ``gradient``; ``here`` holds dL/dz of the outputs."""
    for index in range(space.net.layers - 1, -1, -1):
        descend(space, tile, index)


@compiled
def descend(space: Space, tile: Tile, index: int) -> None:
    """Add a layer's part of the gradient; bring ``here`` to the layer below it."""
    layer = layer_at(space, index)
    _weigh(space, layer, tile.padded)
    if index:
        _spread_back(space, layer, tile.padded)
        under = layer_at(space, index - 1)
        if space.net.norm:
            _unbend(space, under, tile.padded, space.below)
            _unnormalise(space, under, tile)
        else:
            _unbend(space, under, tile.padded, space.here)


@compiled
def squared_signal(space: Space, tile: Tile, index: int) -> Any:
    """Return the sum of squares of a layer's dL/dz, in float64; it lies in ``here``."""
    total = widened(zero_of(space))
    for unit in range(layer_at(space, index).outputs):
        for row in range(tile.rows):
            back = widened(load(space.here, unit * space.rows + row))
            total += back * back
    return total


@compiled
def _weigh(space: Space, layer: Layer, padded: int) -> None:
    """Add dL/dW and dL/db of a layer, four rows at a time."""
    for unit in range(layer.outputs):
        bias = load(space.gradient, layer.bias + unit)
        weights = layer.weight + unit * layer.inputs
        for row in range(0, padded, ROWS):
            at = unit * space.rows + row
            b0, b1 = load(space.here, at), load(space.here, at + 1)
            b2, b3 = load(space.here, at + 2), load(space.here, at + 3)
            bias += (b0 + b1) + (b2 + b3)
            at = layer.start * space.rows + row
            for column in range(layer.inputs):
                part = b0 * load(space.a, at) + b1 * load(space.a, at + 1)
                part += b2 * load(space.a, at + 2) + b3 * load(space.a, at + 3)
                part += load(space.gradient, weights + column)
                store(space.gradient, weights + column, part)
                at += space.rows
        store(space.gradient, layer.bias + unit, bias)


@compiled
def _spread_back(space: Space, layer: Layer, padded: int) -> None:
    """Put the gradient at a layer's inputs into ``below``."""
    zero = zero_of(space)
    for column in range(layer.inputs):
        for row in range(0, padded, ROWS):
            s0, s1, s2, s3 = zero, zero, zero, zero
            weight_at, at = layer.weight + column, row
            for _unit in range(layer.outputs):
                weight = load(space.theta, weight_at)
                s0 += weight * load(space.here, at)
                s1 += weight * load(space.here, at + 1)
                s2 += weight * load(space.here, at + 2)
                s3 += weight * load(space.here, at + 3)
                weight_at += layer.inputs
                at += space.rows
            at = column * space.rows + row
            store(space.below, at, s0)
            store(space.below, at + 1, s1)
            store(space.below, at + 2, s2)
            store(space.below, at + 3, s3)


@compiled
def _unbend(space: Space, layer: Layer, padded: int, target: Any) -> None:
    """Take the gradient in ``below`` through the activation into target; add its slope's part."""
    for unit in range(layer.outputs):
        at = (layer.start + layer.inputs + unit) * space.rows
        own = unit * space.rows
        if layer.slope >= 0:
            part = load(space.gradient, layer.slope) + _slope_part(space, layer, unit, padded)
            store(space.gradient, layer.slope, part)
        for row in range(padded):
            store(target, own + row, load(space.below, own + row) * load(space.d, at + row))


@compiled
def _slope_part(space: Space, layer: Layer, unit: int, padded: int) -> Any:
    """Return a unit's part of the gradient of PReLU's slope: where z is below 0, z times it."""
    at = (layer.start + layer.inputs + unit) * space.rows
    total = zero_of(space)
    for row in range(padded):
        z = load(space.e, at + row)
        if space.net.norm:
            z = z * load(space.theta, layer.scale + unit) + load(space.theta, layer.shift + unit)
        negative = if_greater(z, 0.0, splat(0.0, z), z)
        total += load(space.below, unit * space.rows + row) * negative
    return total


@compiled
def _unnormalise(space: Space, layer: Layer, tile: Tile) -> None:
    """Take the gradient through batch normalisation into ``here``; add scale's and shift's part.

    dz = scale * spread * (g - mean(g) - n mean(g n)), n the normalised value.
    Source: Ioffe and Szegedy (2015), arXiv:1502.03167, section 3.
    """
    for unit in range(layer.outputs):
        at = (layer.start + layer.inputs + unit) * space.rows
        own = unit * space.rows
        total, tilted = zero_of(space), zero_of(space)
        for row in range(tile.rows):
            back = load(space.below, own + row)
            total += back
            tilted += back * load(space.e, at + row)
        scale, shift = layer.scale + unit, layer.shift + unit
        store(space.gradient, scale, load(space.gradient, scale) + tilted)
        store(space.gradient, shift, load(space.gradient, shift) + total)
        factor = load(space.theta, scale) * load(space.spread, layer.unit + unit)
        total, tilted = total / tile.rows, tilted / tile.rows
        for row in range(tile.rows):
            apart = load(space.below, own + row) - total - load(space.e, at + row) * tilted
            store(space.here, own + row, factor * apart)
        for row in range(tile.rows, tile.padded):
            store(space.here, own + row, zero_of(space))
