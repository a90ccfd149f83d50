"""A step looked at as it runs, in a second run of the script: nothing is made again.

The monitor stays on from the end of the step before until something has gone wrong, so that the
batch, the forward and backward passes and the update are all seen. This process is there for that
alone: it ends once it has an answer.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from headwater.records import Fault
from headwater.replay.figures import is_finite
from headwater.replay.monitor import Event, Monitor
from headwater.watch.cuts import frames_here, tensors_in
from headwater.watch.door import Call
from headwater.watch.faults import Faults, Seen, tell
from headwater.watch.names import Names
from headwater.watch.rerun import CATCHING, located, plain_event, same_storage, total
from headwater.watch.stacks import STACKS


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was seen: a fault or none, and each step's loss up to there."""

    fault: Fault | None
    losses: dict[int, float]
    why: str = ""


class Live(Faults):
    """Looks at the steps from ``first`` to ``last`` as they run, and hands in its answer once.

    Args:
        names: Of the parameters.
        first: The step at whose beginning the monitor is put on.
        last: The last step that is looked at.
        hand_in: Called with the answer; it ends the process.
    """

    every_step = True

    def __init__(
        self, names: Names, *, first: int, last: int, hand_in: Callable[[Answer], None]
    ) -> None:
        super().__init__(names)
        self._first, self._last = first, last
        self._hand_in = hand_in
        self._monitor: Monitor | None = None
        self._losses: dict[int, float] = {}

    @property
    def settled(self) -> bool:
        """Never: the process ends with the answer."""
        return False

    def step_begins(self, number: int) -> None:
        """Put the monitor on in time; give up when it has been on in vain."""
        if number >= self._first and self._monitor is None:
            # Below the door's own frame stands the script's line that calls backward.
            CATCHING.add(vars(torch.autograd)["_engine_run_backward"].__code__)
            STACKS.open(lambda _error: None)
            STACKS.start()
            if "torch._dynamo" in sys.modules:
                torch.compiler.set_stance("force_eager")
            self._monitor = Monitor(partial(_located, self._names))
            self._monitor.__enter__()  # type: ignore[no-untyped-call]  # it is never left: the process ends first
        if number > self._last:
            self.give_up("the second run did not break there")

    def give_up(self, why: str) -> None:
        """Hand in that nothing was seen."""
        self._hand_in(Answer(fault=None, losses=self._losses, why=why))

    def loss_stands(self, call: Call, step: int, *_: Any) -> None:
        """Hear of a loss as its backward pass begins."""
        value = total(call.roots)
        self._losses[step] = self._losses.get(step, 0.0) + value
        if self._monitor is not None and not math.isfinite(value):
            self._see(step, "loss", [root.detach() for root in call.roots])

    def gradients_stand(self, _call: Call, step: int, *_: Any) -> None:
        """Hear that a backward pass is over."""
        self._look_at(step, [t.grad for _, t in self._names.with_gradients()])

    def results_stand(
        self, _call: Call, step: int, results: Iterable[Tensor | None], *_: Any
    ) -> None:
        """Hear which gradients a loop asked for."""
        self._look_at(step, results)

    def _look_at(self, step: int, gradients: Iterable[Tensor | None]) -> None:
        if self._monitor is None:
            return
        bad = [each for each in gradients if each is not None and not is_finite(each)]
        if bad:
            self._see(step, "gradient", bad)

    def _see(self, step: int, seen_in: Seen, gone_wrong: list[Tensor]) -> None:
        assert self._monitor is not None
        event = self._monitor.producer(gone_wrong)
        if event is None:
            self.give_up("what broke had been there before the step")
            return
        told = tell(
            Fault(step=step, seen_in=seen_in, how="rewound", parameters=self._bad_names(seen_in)),
            {
                "event": plain_event(event),
                "reproduced": True,
                "exact": True,
                "handed": self._handed(event),
                "note": "",
            },
        )
        if event.place["update"]:
            told = replace(
                told, phase="update", operation="", cause="bad-update",
                parameters=self._bad_weights(),
                reason=f"the optimiser's update made weights that are not finite "
                f"({told.operation}: {told.reason})",
            )  # fmt: skip
        self._hand_in(Answer(fault=told, losses=self._losses))

    def _bad_names(self, seen_in: Seen) -> tuple[str, ...]:
        if seen_in == "loss":
            return ()
        infos = self._names.parameter_infos()
        known = self._names.with_gradients()
        return tuple(
            infos[index].name
            for index, tensor in known
            if tensor.grad is not None and not is_finite(tensor.grad)
        )

    def _bad_weights(self) -> tuple[str, ...]:
        known = zip(self._names.parameter_infos(), self._names.parameters, strict=True)
        weights = [(info.name, parameter.tensor()) for info, parameter in known]
        return tuple(n for n, t in weights if t is not None and not is_finite(t.detach()))

    def _handed(self, event: Event) -> str:
        """Return what a tensor from before is, as :mod:`headwater.watch.rerun` says it."""
        tensor = event.tensor
        if not event.outside or tensor is None:
            return ""
        known = zip(self._names.parameter_infos(), self._names.parameters, strict=True)
        for info, parameter in known:
            if same_storage(parameter.tensor(), tensor):
                return f"parameter {info.name}"
        for frame in frames_here():
            if STACKS.is_users(frame.f_code):
                for name, value in list(frame.f_locals.items()):
                    if any(same_storage(each, tensor) for each in tensors_in(value, depth=3)):
                        return f"data {name}"
        return "leaf" if tensor.requires_grad else "data"


def _located(names: Names, node: Any) -> dict[str, Any]:
    return {**located(names, node), "update": _within_an_optimiser()}


def _within_an_optimiser() -> bool:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not STACKS.is_users(frame.f_code):
        if str(frame.f_globals.get("__name__", "")).startswith("torch.optim"):
            return True
        frame = frame.f_back
    return False
