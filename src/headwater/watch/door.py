"""The one hook point: what every PyTorch training program passes through.

``torch.autograd.backward`` is called through its module's attribute by ``Tensor.backward``, so
replacing the attribute catches plain loops and every framework built on them;
``torch.autograd.grad`` is the second door. Torch's global optimiser hooks tell the step, and the
gradient scaler's own methods tell the loss scale and the steps it skips. Everything is put back
when the last listener leaves; while nobody listens nothing of ours is in the way.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of ``backward`` or ``grad``: roots, their gradients if given, inputs if asked for."""

    roots: Sequence[Tensor]
    gradients: Sequence[Tensor | None]
    inputs: Sequence[Tensor] | None
    creates_graph: bool
    is_grad: bool


class Listener(Protocol):
    """What an observation hears. None of these may raise."""

    def backward_begins(self, call: Call) -> object:
        """Hear that a backward pass starts; what is returned comes back as its token."""

    def backward_ends(self, call: Call, token: object, results: Sequence[Tensor | None]) -> None:
        """Hear that it is over, however it ended; ``results`` are those of ``grad``."""

    def step_begins(self, optimiser: Optimizer) -> None:
        """Hear that an optimiser is about to step."""

    def step_ends(self, optimiser: Optimizer) -> None:
        """Hear that it has stepped."""

    def loss_scaled(self, scaler: Any, output: Any) -> None:
        """Hear what a gradient scaler made of a loss."""

    def scaler_step_begins(self, scaler: Any, optimiser: Optimizer) -> None:
        """Hear that a gradient scaler may step an optimiser."""

    def scaler_step_ends(self, scaler: Any, optimiser: Optimizer) -> None:
        """Hear that it has, or has skipped it."""


class Door:
    """Holds the replaced functions, and tells listeners what passes."""

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()
        self._undo: list[Callable[[], None]] = []

    def enter(self, listener: Listener) -> None:
        """Begin telling a listener; the first one opens the door."""
        if not self._listeners:
            self._open()
        self._listeners = (*self._listeners, listener)

    def leave(self, listener: Listener) -> None:
        """Stop telling a listener; the last one puts everything back. May be called twice."""
        if listener not in self._listeners:
            return
        self._listeners = tuple(other for other in self._listeners if other is not listener)
        if not self._listeners:
            while self._undo:
                self._undo.pop()()

    def _open(self) -> None:
        self._replace(torch.autograd, "backward", self._backward)
        self._replace(torch.autograd, "grad", self._grad)
        scaler = torch.amp.GradScaler
        self._replace(scaler, "scale", self._scale)
        self._replace(scaler, "step", self._scaler_step)
        before = register_optimizer_step_pre_hook(self._step_begins)
        after = register_optimizer_step_post_hook(self._step_ends)
        self._undo.extend([before.remove, after.remove])

    def _replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        original = vars(owner)[name]
        replacement = functools.wraps(original)(make(original))
        setattr(owner, name, replacement)

        def restore() -> None:
            # Somebody who wrapped ours after us keeps it; ours then only passes calls through.
            if vars(owner).get(name) is replacement:
                setattr(owner, name, original)

        self._undo.append(restore)

    def _backward(self, original: Any) -> Any:
        def backward(  # noqa: PLR0917  # torch's own signature
            tensors: Any,
            grad_tensors: Any = None,
            retain_graph: bool | None = None,
            create_graph: bool = False,
            grad_variables: Any = None,
            inputs: Any = None,
        ) -> Any:
            listeners = self._listeners
            if not listeners:
                return original(
                    tensors, grad_tensors, retain_graph, create_graph, grad_variables, inputs
                )
            tensors, inputs = _settled(tensors), _settled(inputs)
            grad_tensors = _settled(grad_tensors)
            call = Call(
                _tensors(tensors),
                _gradients(grad_tensors if grad_tensors is not None else grad_variables),
                _tensors(inputs) if inputs is not None else None,
                create_graph,
                False,
            )
            tokens = [listener.backward_begins(call) for listener in listeners]
            try:
                original(tensors, grad_tensors, retain_graph, create_graph, grad_variables, inputs)
            finally:
                for listener, token in zip(listeners, tokens, strict=True):
                    listener.backward_ends(call, token, ())

        return backward

    def _grad(self, original: Any) -> Any:
        def grad(outputs: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            listeners = self._listeners
            if not listeners:
                return original(outputs, inputs, *args, **kwargs)
            outputs, inputs = _settled(outputs), _settled(inputs)
            given = args[0] if args else kwargs.get("grad_outputs")
            creates = args[2] if len(args) > 2 else kwargs.get("create_graph", False)
            call = Call(_tensors(outputs), _gradients(given), _tensors(inputs), bool(creates), True)
            tokens = [listener.backward_begins(call) for listener in listeners]
            results: Sequence[Tensor | None] = ()
            try:
                found = original(outputs, inputs, *args, **kwargs)
                results = found if isinstance(found, tuple) else ()
                return found
            finally:
                for listener, token in zip(listeners, tokens, strict=True):
                    listener.backward_ends(call, token, results)

        return grad

    def _scale(self, original: Any) -> Any:
        def scale(scaler: Any, outputs: Any) -> Any:
            result = original(scaler, outputs)
            for listener in self._listeners:
                listener.loss_scaled(scaler, result)
            return result

        return scale

    def _scaler_step(self, original: Any) -> Any:
        def step(scaler: Any, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
            listeners = self._listeners
            for listener in listeners:
                listener.scaler_step_begins(scaler, optimizer)
            try:
                return original(scaler, optimizer, *args, **kwargs)
            finally:
                for listener in listeners:
                    listener.scaler_step_ends(scaler, optimizer)

        return step

    def _step_begins(self, optimiser: Optimizer, _args: Any, _kwargs: Any) -> None:
        for listener in self._listeners:
            listener.step_begins(optimiser)

    def _step_ends(self, optimiser: Optimizer, _args: Any, _kwargs: Any) -> None:
        for listener in self._listeners:
            listener.step_ends(optimiser)


def _settled(value: Any) -> Any:
    """Return an iterator's items: ``model.parameters()`` can be read only once, and torch must."""
    return tuple(value) if isinstance(value, Iterator) else value


def _tensors(value: Any) -> Sequence[Tensor]:
    items = (value,) if isinstance(value, Tensor) else value
    if isinstance(items, (tuple, list)) and all(isinstance(item, Tensor) for item in items):
        return items
    return ()  # a gradient edge, or what torch will refuse in its own words


def _gradients(value: Any) -> Sequence[Tensor | None]:
    return value if isinstance(value, (tuple, list)) else (value,)


DOOR = Door()
"""The one door of the process: what it replaces is the process's own."""
