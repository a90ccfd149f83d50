"""The one hook point: what every PyTorch training program passes through.

``Tensor.backward``, ``torch.autograd.backward`` and ``torch.autograd.grad`` all end in one function
of torch's, ``_engine_run_backward``, which gets their arguments checked and put in order. It is
this one that is replaced: the public functions stay the objects they are, so that the compiler,
TorchScript and whoever wraps them see what they know. Torch's global optimiser hooks tell the
step, and the gradient scaler's own methods tell the loss scale and the steps it skips. Everything
is put back when the last listener leaves; while nobody listens nothing of ours is in the way.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from headwater.watch.aside import aside, never_compile
from headwater.watch.lane import Lane
from headwater.watch.reach import out_of_reach
from headwater.watch.tracebacks import hide_frame


@dataclass(frozen=True, slots=True)
class Call:
    """One backward pass: roots, their gradients if given, inputs if asked for.

    ``nested`` passes start inside another one; ``is_grad`` tells those of ``torch.autograd.grad``.
    """

    roots: Sequence[Tensor]
    gradients: Sequence[Tensor | None]
    inputs: Sequence[Tensor] | None
    creates_graph: bool
    is_grad: bool
    nested: bool


class Listener(Protocol):
    """What an observation hears. None of these may raise, but to end a training on request."""

    def backward_begins(self, call: Call) -> object:
        """Hear that a backward pass starts; what is returned comes back as its token."""

    def backward_ends(
        self, call: Call, token: object, results: Sequence[Tensor | None] | None
    ) -> None:
        """Hear that it is over; ``results`` are those of ``grad``, None if the pass raised."""

    def gradient_is_bad(self, call: Call) -> None:
        """Hear that a pass that went by the lane, which is closed by now, left a bad gradient."""

    def backward_unseen(self, why: str) -> None:
        """Hear of one that must be left alone, and why; "" is not worth a note."""

    def step_begins(self, optimiser: Optimizer) -> None:
        """Hear that an optimiser is about to step."""

    def gradient_stands(self, optimiser: Optimizer) -> None:
        """Hear that the gradient it steps on is there: a closure makes it within the step."""

    def step_ends(self, optimiser: Optimizer) -> None:
        """Hear that it has stepped."""

    def loss_scaled(self, scaler: Any, loss: Any, output: Any) -> None:
        """Hear what a gradient scaler made of a loss."""

    def scaler_step_begins(self, scaler: Any, optimiser: Optimizer) -> None:
        """Hear that a gradient scaler may step an optimiser."""

    def scaler_step_ends(self, scaler: Any, optimiser: Optimizer) -> None:
        """Hear that it has, or has skipped it."""

    def lane_ends(self, *, between_steps: bool) -> None:
        """Hear that the lane it was lent is closed, after a whole step or in the middle of one."""

    def forked(self) -> None:
        """Hear that this is a child process now, and leave."""


_Heard = tuple[Listener, Call, object]

_is_compiling: Callable[[], bool] = torch.compiler.is_compiling


class Door:
    """Holds the replaced functions, and tells listeners what passes."""

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()
        self._lane: Lane | None = None
        self._undo: list[Callable[[], None]] = []
        self._steps: dict[int, int] = {}  # of each thread, how many enclose each other

    def enter(self, listener: Listener) -> None:
        """Begin telling a listener; the first one opens the door."""
        self.close_lane()
        if not self._listeners:
            self._open()
        self._listeners = (*self._listeners, listener)

    def leave(self, listener: Listener) -> None:
        """Stop telling a listener; the last one puts everything back. May be called twice."""
        if listener not in self._listeners:
            return
        self.close_lane()
        self._listeners = tuple(other for other in self._listeners if other is not listener)
        if not self._listeners:
            while self._undo:
                self._undo.pop()()

    def lend(self, listener: Listener, lane: Lane) -> bool:
        """Let steps pass by a lane, if nobody else listens; say whether they will."""
        if self._listeners != (listener,):
            return False
        self._lane = lane
        return True

    @aside
    def close_lane(self, *, between_steps: bool = False) -> None:
        """Take the lane away, and let its listener know; nothing if there is none."""
        lane, self._lane = self._lane, None
        if lane is None:
            return
        if lane.inside:  # the whole way goes on where the lane ends
            self._steps[threading.get_ident()] = 1
        self._tell(lambda listener: listener.lane_ends(between_steps=between_steps))

    def abandon(self) -> None:
        """Make every listener leave: this is a child process now."""
        for listener in self._listeners:
            listener.forked()

    def _open(self) -> None:
        for owner in (torch.autograd, torch.autograd.graph):  # the first has a name of its own
            self._replace(owner, "_engine_run_backward", self._run_backward)
        self._replace(torch.amp.GradScaler, "scale", self._scale)
        self._replace(torch.amp.GradScaler, "step", self._scaler_step)
        before = register_optimizer_step_pre_hook(self._step_begins)
        after = register_optimizer_step_post_hook(self._step_ends)
        self._undo.extend([before.remove, after.remove])

    def _replace(self, owner: Any, name: str, make: Callable[[Any, _Hold], Any]) -> None:
        original, hold = vars(owner)[name], _Hold()
        replacement = functools.wraps(original)(make(original, hold))
        hide_frame(replacement)
        never_compile(replacement)
        setattr(owner, name, replacement)

        def restore() -> None:
            hold.on = False
            # Somebody who wrapped ours after us keeps it; ours then only passes calls through.
            if vars(owner).get(name) is replacement:
                setattr(owner, name, original)

        self._undo.append(restore)

    def _run_backward(self, original: Any, hold: _Hold) -> Any:
        def run_backward(roots: Any, *args: Any, **kwargs: Any) -> Any:
            lane = self._lane
            if lane is not None:
                if hold.on and lane.backward(roots, kwargs):
                    found = original(roots, *args, **kwargs)
                    if lane.gradient_is_bad():
                        self._gradient_is_bad(roots, args, kwargs)
                    return found
                self.close_lane()
            listeners = self._listeners if hold.on else ()
            if not listeners:
                return original(roots, *args, **kwargs)
            heard: list[_Heard] = []
            results: Sequence[Tensor | None] | None = None
            try:
                why = out_of_reach(roots, args[0])  # out here, where torch's modes still show
                if why is None:
                    _begin(listeners, heard, roots, args, kwargs)
                else:
                    self._tell(lambda listener: listener.backward_unseen(why))
                found = original(roots, *args, **kwargs)
                results = found or ()
                return found
            finally:
                _end(heard, results)

        return run_backward

    @aside
    def _gradient_is_bad(self, roots: Any, args: Any, kwargs: Any) -> None:
        self.close_lane()
        call = _call(roots, args, kwargs)
        self._tell(lambda listener: listener.gradient_is_bad(call))

    def _scale(self, original: Any, hold: _Hold) -> Any:
        def scale(scaler: Any, outputs: Any) -> Any:
            result = original(scaler, outputs)
            if hold.on:
                self.close_lane()
                self._tell(lambda listener: listener.loss_scaled(scaler, outputs, result))
            return result

        return scale

    def _scaler_step(self, original: Any, hold: _Hold) -> Any:
        def step(scaler: Any, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
            if not hold.on:
                return original(scaler, optimizer, *args, **kwargs)
            self.close_lane()
            self._tell(lambda listener: listener.scaler_step_begins(scaler, optimizer))
            try:
                return original(scaler, optimizer, *args, **kwargs)
            finally:
                self._tell(lambda listener: listener.scaler_step_ends(scaler, optimizer))

        return step

    def _step_begins(self, optimiser: Optimizer, args: Any, kwargs: Any) -> Any:
        if _is_compiling():  # a compiled step is not heard
            return None
        lane = self._lane
        if lane is not None:
            if lane.step_begins(optimiser, len(args) < 2 and not kwargs):
                return None
            self.close_lane()
        if self._is_part():
            return None
        self._tell(lambda listener: listener.step_begins(optimiser))
        if callable(kwargs.get("closure")):
            return args, {**kwargs, "closure": self._heard(kwargs["closure"], optimiser)}
        if len(args) > 1 and callable(args[1]):
            return (args[0], self._heard(args[1], optimiser), *args[2:]), kwargs
        self._tell(lambda listener: listener.gradient_stands(optimiser))
        return None

    def _heard(self, closure: Callable[[], Any], optimiser: Optimizer) -> Callable[[], Any]:
        def heard() -> Any:
            loss = closure()
            self._tell(lambda listener: listener.gradient_stands(optimiser))
            return loss

        hide_frame(heard)
        never_compile(heard)
        return heard

    def _step_ends(self, optimiser: Optimizer, _args: Any, _kwargs: Any) -> None:
        if _is_compiling():
            return
        lane = self._lane
        if lane is not None:
            if lane.step_ends(optimiser):
                return
            closes = not lane.inside and not lane.halfway
            self.close_lane(between_steps=closes)
            if closes:
                return
        thread = threading.get_ident()
        depth = self._steps.pop(thread, 1) - 1
        if depth:
            self._steps[thread] = depth
        else:
            self._tell(lambda listener: listener.step_ends(optimiser))

    def _is_part(self) -> bool:
        """Whether a step that begins is a part of another one, as ``super().step()`` is.

        The frames are asked only where one seems to be open: it may have ended by an exception.
        """
        thread = threading.get_ident()
        depth = self._steps.get(thread, 0)
        part = depth > 0 and _within_a_step()
        self._steps[thread] = depth + 1 if part else 1
        return part

    @aside
    def _tell(self, what: Callable[[Listener], None]) -> None:
        for listener in self._listeners:
            what(listener)


@dataclass(slots=True)
class _Hold:
    """Whether a replaced function is still the door's; one that somebody wrapped outlives it."""

    on: bool = True


@aside
def _begin(
    listeners: Sequence[Listener], heard: list[_Heard], roots: Any, args: Any, kwargs: Any
) -> None:
    call = _call(roots, args, kwargs)
    for listener in listeners:
        heard.append((listener, call, listener.backward_begins(call)))


def _call(roots: Any, args: Any, kwargs: Any) -> Call:
    gradients, _retain, creates_graph, inputs = args[:4]
    return Call(
        _tensors(roots),
        gradients,
        _tensors(inputs) if inputs else None,
        bool(creates_graph),
        not kwargs.get("accumulate_grad", False),
        torch._C._current_graph_task_id() != -1,
    )


@aside
def _end(heard: list[_Heard], results: Sequence[Tensor | None] | None) -> None:
    """Tell all who heard the beginning, also those after one whom an interrupt hits."""
    if heard:
        listener, call, token = heard.pop(0)
        try:
            listener.backward_ends(call, token, results)
        finally:
            _end(heard, results)


_STEP: CodeType = Optimizer.profile_hook_step(lambda: None).__code__
_STEP_WITHIN = 16  # frames from a step's hook to the step it may be a part of


@aside
def _within_a_step() -> bool:
    """Whether the step that calls is a part of another one, as ``super().step()`` is."""
    frame: FrameType | None = sys._getframe(1)
    steps = 0
    for _ in range(_STEP_WITHIN):
        if frame is None:
            break
        steps += frame.f_code is _STEP
        frame = frame.f_back
    return steps > 1


def _tensors(items: Sequence[Any]) -> Sequence[Tensor]:
    """Return the items, or nothing where one is a graph's edge instead of a tensor."""
    return items if all(isinstance(item, Tensor) for item in items) else ()


DOOR = Door()
"""The one door of the process: what it replaces is the process's own."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=DOOR.abandon)
