"""Blocks of an ensemble: what a backend must do, and the course that every block takes.

A block is some members that are worked on together. The course is the same for all backends:
record what is due, train until the next thing is due, and so on to the last epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from headwater.lab.history import Gradients, History, Losses, Steps, Units, UnitWeights
from headwater.lab.network import Floats
from headwater.lab.training import Plan

Tell = Callable[[int], None]
"""Called with a number of member-epochs that are done."""


AT_A_TIME = 20
"""Epochs between two words about progress, which is also where an interrupted training stops."""


class Block(Protocol):
    """Some members of an ensemble, in the hands of a backend."""

    def advance(self, first: int, stop: int) -> None:
        """Train from after ``first`` finished epochs until ``stop`` are."""

    def parameters(self) -> Floats:
        """Return ``[members, size]``."""

    def losses(self) -> Floats:
        """Return train and test loss, train and test accuracy, ``[members, 4]``."""

    def gradients(self) -> Floats:
        """Return norms of dL/dW and dL/dz, ``[members, 2, layers]``."""

    def units(self) -> Floats:
        """Return dead and saturated shares, ``[members, 2, hidden layers]``."""

    def steps(self) -> Floats:
        """Return loss and gradient norm of the first steps, ``[members, steps, 2]``."""

    def first_non_finite(self) -> NDArray[np.int64]:
        """Return the step of that, ``[members]``; 0 if none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sheets:
    """The arrays that blocks write their members' rows into."""

    losses: Floats
    gradients: Floats
    l1: Floats
    slopes: Floats
    units: Floats
    steps: Floats
    first: Floats
    last: Floats
    non_finite: NDArray[np.int64]

    @classmethod
    def empty(cls, plan: Plan) -> Self:
        """Return sheets for all members of a plan, full of NaN."""
        return cls(
            **{
                name: np.full(shape, np.nan, plan.network.dtype if kept else np.float64)
                for name, (shape, kept) in _shapes(plan).items()
            },
            non_finite=np.zeros(len(plan.members), dtype=np.int64),
        )

    def history(self, plan: Plan, backend: str) -> History:
        """Return what the sheets hold, by its names."""
        record = plan.record
        return History(
            network=plan.network,
            seeds=np.asarray(plan.members.seeds, dtype=np.int64),
            learning_rates=plan.members.learning_rates(plan.training.optimiser),
            losses=self._losses(plan.epochs_of(record.losses)),
            first_parameters=self.first,
            last_parameters=self.last,
            first_non_finite=self.non_finite,
            backend=backend,
            gradients=self._gradients(plan.epochs_of(record.gradients))
            if record.gradients
            else None,
            weights=self._weights(plan) if record.weights else None,
            units=self._units(plan.epochs_of(record.units)) if record.units else None,
            steps=self._steps() if record.steps else None,
        )

    def _losses(self, epochs: NDArray[np.int64]) -> Losses:
        train_loss, test_loss, train_accuracy, test_accuracy = np.moveaxis(self.losses, 2, 0)
        return Losses(
            epochs=epochs,
            train_loss=train_loss,
            test_loss=test_loss,
            train_accuracy=train_accuracy,
            test_accuracy=test_accuracy,
        )

    def _gradients(self, epochs: NDArray[np.int64]) -> Gradients:
        weights, signals = np.moveaxis(self.gradients, 2, 0)
        return Gradients(epochs=epochs, weights=weights, signals=signals)

    def _weights(self, plan: Plan) -> UnitWeights:
        ends = np.cumsum(plan.network.widths[1:])[:-1]
        return UnitWeights(
            epochs=plan.epochs_of(plan.record.weights),
            l1=tuple(np.split(self.l1, ends, axis=2)),
            slopes=self.slopes,
        )

    def _units(self, epochs: NDArray[np.int64]) -> Units:
        dead, saturated = np.moveaxis(self.units, 2, 0)
        return Units(epochs=epochs, dead=dead, saturated=saturated)

    def _steps(self) -> Steps:
        loss, gradient_norm = np.moveaxis(self.steps, 2, 0)
        return Steps(loss=loss, gradient_norm=gradient_norm)


def sheet_bytes(plan: Plan) -> int:
    """Return the size of a plan's sheets."""
    width = np.dtype(plan.network.dtype).itemsize
    shapes = _shapes(plan).values()
    return sum(int(np.prod(shape)) * (width if kept else 8) for shape, kept in shapes)


def follow(block: Block, plan: Plan, sheets: Sheets, rows: range, tell: Tell) -> None:
    """Take a block through its epochs and write its rows.

    Args:
        block: The members ``rows`` of the plan, and after them whatever fills it up.
        plan: Of the whole ensemble.
        sheets: Of the whole ensemble.
        rows: Whose rows these are.
        tell: Hears of finished member-epochs.
    """
    record = plan.record
    due = {
        name: {int(epoch): place for place, epoch in enumerate(plan.epochs_of(every))}
        for name, every in (
            ("losses", record.losses),
            ("gradients", record.gradients),
            ("weights", record.weights),
            ("units", record.units),
        )
        if every or name == "losses"
    }
    stops = sorted(set().union(*due.values()))
    own = slice(rows.start, rows.stop)
    count = len(rows)
    sheets.first[own] = block.parameters()[:count]
    for place, epoch in enumerate(stops):
        for first in range(stops[place - 1] if place else epoch, epoch, AT_A_TIME):
            stop = min(first + AT_A_TIME, epoch)
            block.advance(first, stop)
            tell(count * (stop - first))
        columns = {name: at[epoch] for name, at in due.items() if epoch in at}
        _write(block, plan, sheets, rows, columns)
    sheets.last[own] = block.parameters()[:count]
    sheets.steps[own] = block.steps()[:count]
    sheets.non_finite[own] = block.first_non_finite()[:count]


def _write(block: Block, plan: Plan, sheets: Sheets, rows: range, columns: dict[str, int]) -> None:
    own, count = slice(rows.start, rows.stop), len(rows)
    if "losses" in columns:
        sheets.losses[own, columns["losses"]] = block.losses()[:count]
    if "gradients" in columns:
        sheets.gradients[own, columns["gradients"]] = block.gradients()[:count]
    if "units" in columns:
        sheets.units[own, columns["units"]] = block.units()[:count]
    if "weights" in columns:
        network, now = plan.network, block.parameters()[:count].astype(np.float64)
        l1 = [np.abs(layer).sum(axis=2) for layer in network.tensors(now, "weight")]
        sheets.l1[own, columns["weights"]] = np.concatenate(l1, axis=1)
        if network.learns_slopes:
            slopes = np.concatenate(network.tensors(now, "slope"), axis=1)
            sheets.slopes[own, columns["weights"]] = slopes


def _shapes(plan: Plan) -> dict[str, tuple[tuple[int, ...], bool]]:
    """Return each sheet's shape, and whether it holds parameters in the network's dtype."""
    network, record, members = plan.network, plan.record, len(plan.members)
    hidden = network.layers - 1

    def times(every: int) -> int:
        return len(plan.epochs_of(every)) if every else 0

    return {
        "losses": ((members, len(plan.epochs_of(record.losses)), 4), False),
        "gradients": ((members, times(record.gradients), 2, network.layers), False),
        "l1": ((members, times(record.weights), sum(network.widths[1:])), False),
        "slopes": (
            (members, times(record.weights), hidden if network.learns_slopes else 0),
            False,
        ),
        "units": ((members, times(record.units), 2, hidden), False),
        "steps": ((members, min(record.steps, plan.steps), 2), False),
        "first": ((members, network.size), True),
        "last": ((members, network.size), True),
    }
