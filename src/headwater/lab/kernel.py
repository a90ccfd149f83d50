"""The compiled course of sixteen networks: epochs of training, and what is measured in between."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from headwater.lab.compiler import compiled
from headwater.lab.lanes import (
    if_equal,
    if_greater,
    load,
    memory,
    root,
    size,
    splat,
    store,
    widened,
)
from headwater.lab.memory import LANES
from headwater.lab.passes import EVALUATE, MEASURE, TRAIN, forward, take
from headwater.lab.randomness import EPOCH_STRIDE, GOLDEN, HALF, mixed
from headwater.lab.returns import backward, descend, judge, squared_signal
from headwater.lab.space import (
    Points,
    Space,
    layer_at,
    located,
    located_points,
    tile_at,
    zero_of,
)
from headwater.lab.updates import Course, clear, clip, located_course, squared_norm, update

_scrambled = compiled(mixed)


class Diary(NamedTuple):
    """What is noted at every step, and what shuffles; arrays in Python, memories in compiled code.

    Attributes:
        kept: Of how many first steps figures are noted.
        shuffle: Whether every epoch has an order of its own.
        steps: Loss and gradient norm, ``[steps, 2, lanes]``, float64.
        unsound: The step at which a lane was not finite, ``[lanes]``, float64; 0 if none.
        order: The lanes' row numbers of the epoch, ``[points, lanes]``.
        offsets: The lanes' first rows.
        seeds: The lanes' seeds.
    """

    kept: int
    shuffle: bool
    steps: Any
    unsound: Any
    order: Any
    offsets: Any
    seeds: Any


@compiled
def train_epochs(
    arrays: Space, points: Points, course: Course, diary: Diary, span: tuple[int, int]
) -> None:
    """Train from after ``span[0]`` finished epochs until ``span[1]`` are."""
    space, data, rule = located(arrays), located_points(points), located_course(course)
    order, steps, unsound = memory(diary.order), memory(diary.steps), memory(diary.unsound)
    batch = space.net.batch
    per_epoch = -(-data.total // batch)
    for epoch in range(span[0], span[1]):
        if diary.shuffle:
            _shuffle(diary, epoch, data.total)
        for part in range(per_epoch):
            step = epoch * per_epoch + part
            rows = part * batch, min((part + 1) * batch, data.total)
            loss = _descent(space, data, order, rows, step)
            if step < diary.kept:
                store(steps, 2 * step, loss)
                norm = root(squared_norm(space.gradient, 0, space.net.size))
                store(steps, 2 * step + 1, norm)
            clip(rule, space.gradient)
            wrong = widened(update(rule, space.theta, space.gradient, step + 1)) + loss * 0.0
            since = load(unsound, 0)
            now = if_equal(since, 0.0, splat(step + 1.0, since), since)
            store(unsound, 0, if_equal(wrong, 0.0, since, now))


@compiled
def _descent(space: Space, points: Points, order: Any, rows: tuple[int, int], step: int) -> Any:
    """Leave the gradient of a batch's rows in the space; return its mean loss, in float64."""
    clear(space.gradient, space.net.size)
    loss = widened(zero_of(space))
    whole = rows[1] - rows[0]
    noise = step * space.net.hidden * space.net.batch
    for first in range(rows[0], rows[1], space.rows):
        tile = tile_at(space, first, rows[1], whole, noise + first - rows[0])
        take(space, points, order, tile)
        forward(space, tile, TRAIN)
        part, _ = judge(space, points, order, tile)
        loss += part
        backward(space, tile)
    return loss / (whole * layer_at(space, space.net.layers - 1).outputs)


@compiled
def _shuffle(diary: Diary, epoch: int, count: int) -> None:
    """Draw each lane's order of the epoch, as ``randomness.orders`` does."""
    for lane in range(LANES):
        start = _scrambled(diary.seeds[lane] + GOLDEN)
        start = _scrambled(start + np.uint64(epoch) * EPOCH_STRIDE)
        for place in range(count):
            diary.order[place * LANES + lane] = diary.offsets[lane] + place
        for place in range(count - 1, 0, -1):
            draw = _scrambled(start + np.uint64(place) * GOLDEN) >> HALF
            other = np.int64((draw * np.uint64(place + 1)) >> HALF)
            here, there = place * LANES + lane, other * LANES + lane
            held = diary.order[there]
            diary.order[there] = diary.order[here]
            diary.order[here] = held


@compiled
def measure_losses(arrays: Space, points: Points, found: Any) -> None:
    """Write mean loss and accuracy into ``found`` ``[2, lanes]`` flat, float64."""
    space, data = located(arrays), located_points(points)
    loss = widened(zero_of(space))
    hits = loss
    for start in range(0, data.total, space.rows):
        tile = tile_at(space, start, data.total, data.total, 0)
        take(space, data, data.natural, tile)
        forward(space, tile, EVALUATE)
        part, told = judge(space, data, data.natural, tile)
        loss += part
        hits += told
    pairs = data.total * layer_at(space, space.net.layers - 1).outputs
    store(memory(found), 0, loss / pairs)
    store(memory(found), 1, hits / pairs)


@compiled
def measure_gradients(arrays: Space, points: Points, squares: Any) -> None:
    """Leave the gradient over all points in the space; add dL/dz's squares to ``squares``."""
    space, data, sums = located(arrays), located_points(points), memory(squares)
    clear(space.gradient, space.net.size)
    squares[:] = 0.0
    for start in range(0, data.total, space.rows):
        tile = tile_at(space, start, data.total, data.total, 0)
        take(space, data, data.natural, tile)
        forward(space, tile, MEASURE)
        judge(space, data, data.natural, tile)
        for index in range(space.net.layers - 1, -1, -1):
            store(sums, index, load(sums, index) + squared_signal(space, tile, index))
            descend(space, tile, index)


@compiled
def measure_units(arrays: Space, points: Points, bounds: Any, live: Any, flat: Any) -> None:
    """Count by hidden unit the points where it is alive, and where it is saturated.

    ``bounds`` ``[layers, lanes]`` says below which size a derivative is saturated; ``live`` and
    ``flat`` are ``[units, lanes]`` flat, float64, and 0 before.
    """
    space, data = located(arrays), located_points(points)
    alive, still = memory(live), memory(flat)
    for start in range(0, data.total, space.rows):
        tile = tile_at(space, start, data.total, data.total, 0)
        take(space, data, data.natural, tile)
        forward(space, tile, MEASURE)
        for index in range(space.net.layers - 1):
            layer, bound = layer_at(space, index), load(memory(bounds), index)
            for unit in range(layer.outputs):
                at = (layer.start + layer.inputs + unit) * space.rows
                some, few = _counted(space.d, at, tile.rows, bound)
                own = layer.unit + unit
                store(alive, own, load(alive, own) + some)
                store(still, own, load(still, own) + few)


@compiled
def _counted(d: Any, at: int, count: int, bound: Any) -> Any:
    one, zero = splat(1.0, bound), splat(0.0, bound)
    alive, still = widened(zero), widened(zero)
    for row in range(at, at + count):
        rise = size(load(d, row))
        alive += widened(if_equal(rise, 0.0, zero, one))
        still += widened(if_greater(bound, rise, one, zero))
    return alive, still
