"""The compiled backend: a block is sixteen members, one in each lane."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.lab.kernel import (
    Diary,
    measure_gradients,
    measure_losses,
    measure_units,
    train_epochs,
)
from headwater.lab.memory import LANES, tile_rows
from headwater.lab.network import Floats, Network, SlotKind
from headwater.lab.pointwise import code_of
from headwater.lab.randomness import noise_keys
from headwater.lab.space import Net, Points, Space
from headwater.lab.training import Plan
from headwater.lab.updates import Course, rule_of
from headwater.theory.activations import steepest

SATURATED_BELOW = 0.05
LINE = 64
"""Bytes of a cache line: a vector that straddles two takes two loads."""


class CompiledBlock:
    """Sixteen members."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.network = plan, plan.network
        self.space = _space(plan)
        theta = self._lanes(plan.members.first_parameters(plan.network))
        self.space.theta[:] = theta
        self.points = self._points(plan.data.x, plan.data.y)
        self.tests = None
        if plan.data.test_x is not None and plan.data.test_y is not None:
            self.tests = self._points(plan.data.test_x, plan.data.test_y)
        rates = plan.members.learning_rates(plan.training.optimiser)
        self.course = Course(
            rule=rule_of(plan.training.optimiser, plan.training.clip),
            size=plan.network.size,
            tensors=len(plan.network.slots),
            first=np.zeros_like(theta),
            second=np.zeros_like(theta),
            rates=self._lanes(rates[:, None].astype(plan.network.dtype)),
            ends=np.array([slot.stop for slot in plan.network.slots]),
        )
        self.diary = self._diary()

    def advance(self, first: int, stop: int) -> None:
        """Train from after ``first`` finished epochs until ``stop`` are."""
        train_epochs(self.space, self.points, self.course, self.diary, (first, stop))

    def parameters(self) -> Floats:
        """Return ``[members, size]``."""
        return self._members(self.space.theta)

    def losses(self) -> Floats:
        """Return train and test loss, train and test accuracy, ``[members, 4]``."""
        found = np.full((LANES, 4), np.nan)
        for column, points in enumerate((self.points, self.tests)):
            if points is None:
                continue
            both = np.empty(2 * LANES)
            measure_losses(self.space, points, both)
            loss, accuracy = self._members(both).T
            found[:, column] = loss
            if self.network.loss == "bce":
                found[:, 2 + column] = np.where(np.isfinite(loss), accuracy, np.nan)
        return found

    def gradients(self) -> Floats:
        """Return norms of dL/dW and dL/dz, ``[members, 2, layers]``."""
        squares = np.empty(self.network.layers * LANES)
        measure_gradients(self.space, self.points, squares)
        theta = self._members(self.space.gradient).astype(np.float64)
        tensors = self.network.tensors(theta, "weight")
        with np.errstate(over="ignore", invalid="ignore"):
            weights = np.stack([(layer**2).sum(axis=(1, 2)) for layer in tensors], axis=1)
            found: Floats = np.sqrt(np.stack([weights, self._members(squares)], axis=1))
        return found

    def units(self) -> Floats:
        """Return dead and saturated shares, ``[members, 2, hidden layers]``."""
        hidden = self.network.widths[1:-1]
        live, saturated = np.zeros((2, sum(hidden) * LANES))
        measure_units(self.space, self.points, self._bounds(), live, saturated)
        ends = np.cumsum(hidden)[:-1]
        dead = np.split(self._members(live) == 0, ends, axis=1) if hidden else []
        flat = np.split(self._members(saturated), ends, axis=1) if hidden else []
        found = np.zeros((LANES, 2, len(hidden)))
        for layer in range(len(hidden)):
            found[:, 0, layer] = dead[layer].mean(axis=1)
            found[:, 1, layer] = flat[layer].mean(axis=1) / self.points.total
        return found

    def steps(self) -> Floats:
        """Return loss and gradient norm of the first steps, ``[members, steps, 2]``."""
        return self._members(self.diary.steps).reshape(LANES, -1, 2)

    def first_non_finite(self) -> NDArray[np.int64]:
        """Return the step of that, ``[members]``; 0 if none."""
        found: NDArray[np.int64] = self.diary.unsound.astype(np.int64)
        return found

    def _members(self, flat: Any) -> Floats:
        """Return what a flat array holds by members, ``[members, entries]``."""
        return np.ascontiguousarray(flat.reshape(-1, LANES).T)

    def _lanes(self, values: Floats) -> Any:
        """Return ``[members, entries]`` as a flat array of lanes."""
        return _aligned(values.T.ravel(), values.dtype)

    def _points(self, x: Floats, y: Floats) -> Points:
        count = x.shape[-2]
        rows = np.arange(count)[:, None] + self._offsets(x)
        kind = self.network.dtype
        return Points(
            total=count,
            x=x.astype(kind).ravel(),
            y=y.astype(kind).ravel(),
            natural=rows.astype(np.int32).ravel(),
        )

    def _offsets(self, x: Floats) -> NDArray[np.int64]:
        """Return at which row of all data each lane's own begin."""
        if x.ndim == 2:
            return np.zeros(LANES, dtype=np.int64)
        return np.asarray(np.arange(LANES) * x.shape[-2], dtype=np.int64)

    def _diary(self) -> Diary:
        seeds = np.asarray(self.plan.members.seeds, dtype=np.uint64)
        self.space.keys[:] = noise_keys(seeds)
        steps = min(self.plan.record.steps, self.plan.steps)
        return Diary(
            kept=steps,
            shuffle=self.plan.training.shuffle and self.plan.batch < self.plan.points,
            steps=np.full(steps * 2 * LANES, np.nan),
            unsound=np.zeros(LANES),
            order=self.points.natural.copy(),
            offsets=self._offsets(self.plan.data.x),
            seeds=seeds,
        )

    def _bounds(self) -> Any:
        """Return the size of a derivative under which it counts as flat, by layer and lane."""
        hidden = self.network.layers - 1
        bounds = np.full((LANES, hidden), SATURATED_BELOW * steepest(self.network.phi)[0])
        if self.network.learns_slopes:
            slopes = np.abs(np.concatenate(self.network.tensors(self.parameters(), "slope"), 1))
            bounds = SATURATED_BELOW * np.maximum(slopes.astype(np.float64), 1.0)
        return self._lanes(bounds.astype(self.network.dtype))


def net_of(plan: Plan) -> Net:
    """Return the compiled code's view of a network."""
    network = plan.network
    kind, values = code_of(network)
    return Net(
        layers=network.layers,
        size=network.size,
        hidden=network.hidden_units,
        kind=kind,
        values=values,
        bce=network.loss == "bce",
        norm=network.batch_norm,
        noisy=network.random_slopes is not None,
        batch=plan.batch,
    )


def _table(network: Network) -> NDArray[np.int64]:
    starts = {(slot.kind, slot.layer): slot.start for slot in network.slots}
    kinds: tuple[SlotKind, ...] = ("weight", "bias", "scale", "shift", "slope")
    rows = [
        [
            network.widths[layer],
            network.widths[layer + 1],
            *(starts.get((kind, layer), -1) for kind in kinds),
            sum(network.widths[:layer]),
            sum(network.widths[1 : layer + 1]),
        ]
        for layer in range(network.layers)
    ]
    return np.array(rows, dtype=np.int64)


def _space(plan: Plan) -> Space:
    network, rows = plan.network, tile_rows(plan)
    kind, hidden = network.dtype, network.hidden_units
    units, widest = sum(network.widths), max(network.widths)

    def empty(entries: int) -> Any:
        return _aligned(np.zeros(entries * LANES, dtype=kind), kind)

    moments = empty(2 * hidden)
    moments[hidden * LANES :] = 1.0
    return Space(
        net=net_of(plan),
        rows=rows,
        table=_table(network).ravel(),
        theta=empty(network.size),
        gradient=empty(network.size),
        moments=moments,
        spread=empty(hidden),
        a=empty(units * rows),
        d=empty(units * rows),
        e=empty(units * rows),
        here=empty(widest * rows),
        below=empty(widest * rows),
        keys=np.zeros(LANES, dtype=np.uint32),
    )


def _aligned(values: Any, kind: Any) -> Any:
    """Return a copy that starts at a cache line."""
    room = np.empty(values.nbytes + LINE, dtype=np.uint8)
    start = -room.ctypes.data % LINE
    copy = room[start : start + values.nbytes].view(kind)
    copy[:] = values
    return copy
