"""What is gathered while one optimiser step goes by, and how losses and scales are read."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from headwater.watch.door import Call
from headwater.watch.parameters import ParameterSample, Raw, read_raw
from headwater.watch.samples import GraphSample
from headwater.watch.statistics import Scalar, norms, read_scalar, without_scale


@dataclass(slots=True)
class Step:
    """One optimiser step in the making."""

    number: int
    sampled: bool
    pulsed: bool
    backwards: int = 0
    losses: list[Scalar] = field(default_factory=list)
    loss_scale: Scalar | None = None
    optimiser: int | None = None
    skipped: bool = False
    norms: list[tuple[int, Scalar]] | None = None
    parameters: ParameterSample | None = None
    graphs: list[GraphSample] = field(default_factory=list)
    update_norm: Scalar | None = None
    slope: Scalar | None = None
    slope_after: Scalar | None = None

    def loss(self) -> Scalar | None:
        """Return the sum over the step's backward passes, None if there was no scalar root."""
        total: Scalar | None = None
        for loss in self.losses:
            total = loss if total is None else total + loss
        return total

    def parameter_sample(self) -> ParameterSample:
        """Return the step's parameter figures, begun if need be."""
        if self.parameters is None:
            self.parameters = ParameterSample(step=self.number)
        return self.parameters

    def take(self, gradients: Mapping[int, Tensor], usual_backwards: int) -> None:
        """Take the norms of all gradients as a backward pass leaves them.

        Their full figures are taken from the pass on that is usually the last of a step.
        """
        sizes = norms(list(gradients.values()))
        self.norms = list(zip(gradients, sizes, strict=True))
        if self.sampled:
            full = self.backwards >= usual_backwards
            self.parameter_sample().raw = {
                index: read_raw(gradients[index], size) if full else Raw(size)
                for index, size in self.norms
            }

    def end(self, optimiser: int | None, skipped: bool, before: Step) -> None:
        """Note who stepped, or that a gradient scaler skipped the step.

        An optimiser that steps after another on the same backward pass finds its gradients there.
        """
        self.optimiser, self.skipped = optimiser, skipped
        if self.backwards == 0:
            self.loss_scale = before.loss_scale
        if self.parameters is not None:
            self.parameters.loss_scale = self.loss_scale
            self.parameters.optimiser, self.parameters.skipped = optimiser, skipped
            if self.backwards == 0 and before.parameters is not None:
                self.parameters.inherit(before.parameters)


_ONE_NUMBER = 16
"""Bytes that a loss takes at most."""


@dataclass(slots=True)
class LossScale:
    """Knows which tensor a gradient scaler has scaled, and by how much."""

    _output: Any = None
    _scale: Tensor | None = None
    _loss: Tensor | None = None

    @property
    def known(self) -> bool:
        """Whether a scaler has ever scaled a loss."""
        return self._output is not None

    def scaled(self, scaler: Any, loss: Any, output: Any) -> None:
        """Remember what ``scaler.scale`` was given, and what it returned."""
        scale = getattr(scaler, "_scale", None)
        if isinstance(output, Tensor) and isinstance(scale, Tensor) and scaler.is_enabled():
            self._output, self._scale = weakref.ref(output), scale
            # Its number, not its graph, nor the network's output that it may be an entry of.
            alone = output.numel() == 1 and loss.untyped_storage().nbytes() <= _ONE_NUMBER
            self._loss = loss.detach() if alone else None

    def of(self, call: Call) -> Scalar | None:
        """Return the scale of a backward call's root, or None if it was not scaled."""
        if self._output is None or self._scale is None:
            return None
        output = self._output()
        if output is None or not any(root is output for root in call.roots):
            return None
        return read_scalar(self._scale)

    def overflows(self, loss: Scalar) -> bool:
        """Whether only the scaled loss is infinite: a scaler that searches may do that."""
        if not isinstance(loss, float) or self._loss is None:
            return False
        plain = read_scalar(self._loss)
        return not isfinite(loss) and isinstance(plain, float) and isfinite(plain)


@dataclass(slots=True)
class Losses:
    """Decides which backward calls carry the loss.

    A call of ``torch.autograd.grad`` counts only where it is what trains: it builds no graph, as a
    gradient penalty's inner call does, and asks for parameters, not for an adversary's input. Raw
    tensors may be either, so theirs counts while nothing else is known to train.
    """

    scale: LossScale = field(default_factory=LossScale)
    grad_trains: bool = False

    def note(self, step: Step, call: Call, *, trains_otherwise: bool) -> None:
        """Add a call's loss to its step."""
        scale = self.scale.of(call)
        if scale is not None:
            step.loss_scale = scale
        if call.is_grad and not self._trains(call, trains_otherwise):
            return
        self.grad_trains = self.grad_trains or call.is_grad
        loss = _sum_of_scalars(call)
        if loss is not None:
            step.losses.append(loss if scale is None else without_scale(loss, scale))

    @staticmethod
    def _trains(call: Call, trains_otherwise: bool) -> bool:
        asks = any(isinstance(tensor, nn.Parameter) for tensor in call.inputs or ())
        return not call.creates_graph and (asks or not trains_otherwise)


def _sum_of_scalars(call: Call) -> Scalar | None:
    total: Scalar | None = None
    for root in call.roots:
        if root.numel() != 1 or not root.is_floating_point():
            return None
        value = read_scalar(root)
        total = value if total is None else total + value
    return total


@dataclass(slots=True)
class ByHand:
    """Notices steps where no torch optimiser takes them (Keras, ``w -= lr * w.grad``).

    An accumulating loop leaves ``.grad`` and the weight be between two backward passes; one that
    steps by hand changes the weight, or resets or replaces its gradient.
    """

    _leaf: Callable[[], Tensor | None] | None = None
    _state: tuple[int, ...] | None = None

    def remember(self, leaf: Callable[[], Tensor | None] | None) -> None:
        """Look at a parameter as a backward pass leaves it; keep nothing alive."""
        self._leaf = leaf
        self._state = self._look()

    def stepped(self) -> bool:
        """Whether a step was taken since then."""
        return self._leaf is not None and (self._state is None or self._state != self._look())

    def _look(self) -> tuple[int, ...] | None:
        tensor = self._leaf() if self._leaf is not None else None
        gradient = tensor.grad if tensor is not None and tensor.is_leaf else None
        if tensor is None or gradient is None:
            return None
        where = gradient.data_ptr() if gradient.layout is torch.strided else 0
        return tensor._version, gradient._version, where
