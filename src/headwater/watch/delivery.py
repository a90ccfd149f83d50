"""From measurements to rows: waits for figures to leave their device, then hands them over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any

from headwater.watch.recorder import Recorder
from headwater.watch.samples import GraphSample
from headwater.watch.statistics import Fetched, Scalar, combine
from headwater.watch.steps import Step

Deliver = Callable[[list[Any]], None]


class Delivery:
    """Keeps what is still on its way from a device, in order; asks, but never waits, for it."""

    def __init__(self, recorder: Recorder, alarm: Callable[[int], None]) -> None:
        self._recorder = recorder
        self._alarm = alarm
        self._waiting: list[tuple[Fetched, Deliver]] = []

    def graph(self, graph: GraphSample) -> None:
        """Deliver the ledger of one backward pass."""

        def deliver(numbers: list[Any]) -> None:
            self._recorder.submit(lambda: [("sites", graph.columns(numbers))])

        self._when_fetched(Fetched(graph.scalars()), deliver)

    def parameters(self, step: Step, held: Mapping[int, int | None]) -> None:
        """Deliver a sampled step's parameters: those its optimiser holds, and those none does."""
        sample = step.parameters
        if sample is None:
            return
        rows = sample.rows(held)

        def deliver(numbers: list[Any]) -> None:
            self._recorder.submit(lambda: [("parameters", rows.columns(numbers))])

        self._when_fetched(Fetched(rows.scalars()), deliver)

    def pulse(self, step: Step, elapsed_s: float, step_s: float) -> None:
        """Deliver a step's row; its gradient norms are null where it was not pulsed."""
        indices = [index for index, _ in step.norms or ()]
        sizes = [size for _, size in step.norms or ()]
        total = combine(sizes) if sizes else None
        along = (step.update_norm, step.slope, step.slope_after)
        fetched = Fetched([step.loss(), step.loss_scale, total, *along, *sizes])
        taken = step.norms is not None

        def deliver(numbers: list[Any]) -> None:
            loss, scale, whole, moved, slope, slope_after, *each = numbers
            norms: list[float | None] | None = None
            if taken:
                norms = [None] * (max(indices, default=-1) + 1)
                for index, size in zip(indices, each, strict=True):
                    norms[index] = size
            if any(value is not None and value - value != 0 for value in (loss, whole)):
                self._alarm(step.number)
            step_ms = step_s * 1e3 if step.number else None
            row = (
                *(step.number, elapsed_s, step_ms, step.optimiser, loss, step.backwards),
                *(scale, step.skipped, step.sampled, whole, norms),
                *(moved, slope, slope_after),
            )
            self._recorder.pulses(*[(value,) for value in row])

        self._when_fetched(fetched, deliver)

    def plain_steps(
        self,
        first: int,
        times_s: Sequence[float],
        steps_s: Sequence[float],
        losses: Sequence[Scalar],
    ) -> None:
        """Deliver the rows of steps of the first optimiser, of which only the loss was noted."""
        count = len(times_s)

        def deliver(values: list[Any]) -> None:
            for place, loss in enumerate(values):
                if not isfinite(loss):
                    self._alarm(first + place)
            nothing, no = (None,) * count, (False,) * count
            self._recorder.pulses(
                *(range(first, first + count), times_s, [1e3 * span for span in steps_s]),
                *((0,) * count, values, (1,) * count, nothing, no, no),
                *(nothing,) * 5,
            )

        if losses:
            self._when_fetched(Fetched(losses), deliver)

    def pass_on(self) -> None:
        """Hand over what has arrived."""
        while self._waiting and self._waiting[0][0].done():
            fetched, deliver = self._waiting.pop(0)
            deliver(fetched.values())

    def finish(self) -> None:
        """Hand over everything, waiting for what is still on its way."""
        while self._waiting:
            fetched, deliver = self._waiting.pop(0)
            deliver(fetched.values())

    def _when_fetched(self, fetched: Fetched, deliver: Deliver) -> None:
        if not self._waiting and fetched.done():
            deliver(fetched.values())
        else:
            self._waiting.append((fetched, deliver))
