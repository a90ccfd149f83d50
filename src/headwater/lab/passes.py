"""Forward passes of sixteen networks at once, compiled.

Points are worked on a few rows at a time, a tile, so that what a tile needs stays in the nearest
cache; four rows share each weight that is loaded. Rows that fill a tile up repeat its first point
and get no gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from headwater.lab.compiler import compiled
from headwater.lab.elementary import noise
from headwater.lab.lanes import gather, load, root, splat, store
from headwater.lab.memory import LANES, ROWS
from headwater.lab.pointwise import activate
from headwater.lab.randomness import LOW_WORD, mixed32
from headwater.lab.space import Layer, Points, Space, Tile, layer_at, zero_of

NORM_EPS, NORM_MOMENTUM = 1e-5, 0.1
EVALUATE, MEASURE, TRAIN = range(3)

_scrambled = compiled(mixed32)


@compiled
def take(space: Space, points: Points, picked: Any, tile: Tile) -> None:
    """Lay the tile's rows of ``picked`` where the first layer finds them."""
    inputs = layer_at(space, 0).inputs
    for row in range(tile.padded):
        source = (tile.first + (row if row < tile.rows else 0)) * LANES
        for column in range(inputs):
            x = gather(points.x, picked, source, inputs, column)
            store(space.a, column * space.rows + row, x)


@compiled
def forward(space: Space, tile: Tile, mode: int) -> None:
    """Fill the tile's outputs and derivatives.

    Modes: ``EVALUATE`` has the running moments and the mean slopes; ``MEASURE`` takes the tile's
    moments; ``TRAIN`` learns them and draws the slopes, too.
    """
    for index in range(space.net.layers):
        layer = layer_at(space, index)
        _linear(space, layer, tile.padded)
        if index < space.net.layers - 1:
            if space.net.norm:
                _normalise(space, layer, tile, mode)
            _bend(space, layer, tile, mode)


@compiled
def _linear(space: Space, layer: Layer, padded: int) -> None:
    source = layer.start * space.rows
    target = source + layer.inputs * space.rows
    for unit in range(layer.outputs):
        bias = load(space.theta, layer.bias + unit)
        weights = layer.weight + unit * layer.inputs
        for row in range(0, padded, ROWS):
            z0, z1, z2, z3 = bias, bias, bias, bias
            at = source + row
            for column in range(layer.inputs):
                weight = load(space.theta, weights + column)
                z0 += weight * load(space.a, at)
                z1 += weight * load(space.a, at + 1)
                z2 += weight * load(space.a, at + 2)
                z3 += weight * load(space.a, at + 3)
                at += space.rows
            at = target + unit * space.rows + row
            store(space.a, at, z0)
            store(space.a, at + 1, z1)
            store(space.a, at + 2, z2)
            store(space.a, at + 3, z3)


@compiled
def _normalise(space: Space, layer: Layer, tile: Tile, mode: int) -> None:
    """Replace z by its normalised value, which ``e`` keeps, scaled and shifted."""
    hidden = space.net.hidden
    for unit in range(layer.outputs):
        at = (layer.start + layer.inputs + unit) * space.rows
        own = layer.unit + unit
        mean, variance = load(space.moments, own), load(space.moments, hidden + own)
        if mode != EVALUATE:
            mean, variance = _moments(space.a, at, tile.rows)
        if mode == TRAIN:
            kept = load(space.moments, own)
            store(space.moments, own, kept + NORM_MOMENTUM * (mean - kept))
            kept = load(space.moments, hidden + own)
            sample = variance * (tile.rows / (tile.rows - 1))
            store(space.moments, hidden + own, kept + NORM_MOMENTUM * (sample - kept))
        spread = 1.0 / root(variance + NORM_EPS)
        store(space.spread, own, spread)
        scale = load(space.theta, layer.scale + unit)
        shift = load(space.theta, layer.shift + unit)
        for row in range(at, at + tile.padded):
            normal = (load(space.a, row) - mean) * spread
            store(space.e, row, normal)
            store(space.a, row, scale * normal + shift)


@compiled
def _moments(a: Any, at: int, count: int) -> Any:
    """Return mean and (biased) variance of ``count`` rows, by lane."""
    mean = load(a, at)
    for row in range(at + 1, at + count):
        mean += load(a, row)
    mean = mean / count
    variance = splat(0.0, mean)
    for row in range(at, at + count):
        apart = load(a, row) - mean
        variance += apart * apart
    return mean, variance / count


@compiled
def _bend(space: Space, layer: Layer, tile: Tile, mode: int) -> None:
    net = space.net
    slope = zero_of(space) + net.values[0]
    if layer.slope >= 0:
        slope = load(space.theta, layer.slope)
    noisy, keep = net.noisy and mode == TRAIN, not net.norm
    for unit in range(layer.outputs):
        at = (layer.start + layer.inputs + unit) * space.rows
        entry = tile.number + (layer.unit + unit) * net.batch
        for row in range(tile.padded):
            z = load(space.a, at + row)
            if noisy:
                drawn = noise(space.keys, _scrambled(np.uint64(entry + row) & LOW_WORD), z)
                slope = net.values[1] + (net.values[2] - net.values[1]) * drawn
            if keep:
                store(space.e, at + row, z)
            value, rise = activate(net.kind, net.values, slope, z)
            store(space.a, at + row, value)
            store(space.d, at + row, rise)
