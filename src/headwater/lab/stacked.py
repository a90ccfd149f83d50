"""The portable backend: members stacked in PyTorch tensors, gradients by autograd; any device.

It is what runs where numba is not, and on CUDA. Being autograd, it also is what the compiled
backend's derivatives are tested against.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from headwater.errors import EnsembleError
from headwater.lab.network import Floats, SlotKind
from headwater.lab.randomness import entry_counters, noise, noise_keys, orders
from headwater.lab.stacked_steps import Stepper
from headwater.lab.tensors import fixed_function, rectified
from headwater.lab.training import Plan
from headwater.theory.activations import steepest

BATCH_NORM_EPS, BATCH_NORM_MOMENTUM = 1e-5, 0.1
SATURATED_BELOW = 0.05


def check_device(name: str) -> None:
    """Raise an ``EnsembleError`` if torch cannot compute on a device of this name here."""
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        why = str(error).splitlines()[0]
        raise EnsembleError(
            "device", name, f"'cpu', or a device that torch finds here ({why})"
        ) from error


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold torch to one thread: on tensors this small two are slower, on a busy machine far."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True, kw_only=True)
class _Pass:
    """Every layer's z, the output's last, and what each activation got, which is z normalised.

    ``[members, points, units]``.
    """

    signals: list[Tensor]
    bends: list[Tensor]


class StackedBlock:
    """Members as the first axis of every tensor."""

    def __init__(self, plan: Plan, device: str) -> None:
        self.plan, self.network = plan, plan.network
        self.device = torch.device(device)
        self.dtype = getattr(torch, plan.network.dtype)
        self.seeds = np.asarray(plan.members.seeds, dtype=np.int64)
        self.keys = noise_keys(self.seeds)
        self.theta = self._tensor(plan.members.first_parameters(plan.network)).requires_grad_()
        self.x, self.y = self._tensor(plan.data.x), self._tensor(plan.data.y)
        self.test = None
        if plan.data.test_x is not None and plan.data.test_y is not None:
            self.test = self._tensor(plan.data.test_x), self._tensor(plan.data.test_y)
        self.moments = [
            (self._zeros(width), self._zeros(width) + 1)
            for width in (self.network.widths[1:-1] if self.network.batch_norm else ())
        ]
        self.phi = fixed_function(self.network)
        # Asked at every layer of every step, so looked up once.
        self.learns, self.bounds = self.network.learns_slopes, self.network.random_slopes
        self.slots = {(slot.kind, slot.layer): slot for slot in self.network.slots}
        self.stepper = Stepper(plan, self.theta)
        self.kept = np.full((len(self.seeds), min(plan.record.steps, plan.steps), 2), np.nan)
        self.bad_since = torch.zeros(len(self.seeds), dtype=torch.int64, device=self.device)

    def advance(self, first: int, stop: int) -> None:
        """Train from after ``first`` finished epochs until ``stop`` are."""
        plan = self.plan
        for epoch in range(first, stop):
            picked = None
            if plan.training.shuffle and plan.batch < plan.points:
                drawn = orders(self.seeds, epoch, plan.points)
                picked = torch.from_numpy(drawn).to(self.device)
            for number in range(plan.steps_per_epoch):
                rows = slice(number * plan.batch, min((number + 1) * plan.batch, plan.points))
                step = epoch * plan.steps_per_epoch + number
                self._step(step, *self._batch(picked, rows))

    def parameters(self) -> Floats:
        """Return ``[members, size]``."""
        found: Floats = self.theta.detach().cpu().numpy().copy()
        return found

    def losses(self) -> Floats:
        """Return train and test loss, train and test accuracy, ``[members, 4]``."""
        found = np.full((len(self.seeds), 4), np.nan)
        with torch.no_grad():
            for column, points in enumerate(((self.x, self.y), self.test)):
                if points is None:
                    continue
                logits = self._forward(self._all(points[0])).signals[-1]
                y = self._all(points[1])
                loss = self._loss(logits, y)
                found[:, column] = loss.double().cpu().numpy()
                if self.network.loss == "bce":
                    right = ((logits > 0) == (y > 0.5)).double().mean(dim=(1, 2))
                    right[~loss.isfinite()] = torch.nan
                    found[:, 2 + column] = right.cpu().numpy()
        return found

    def gradients(self) -> Floats:
        """Return norms of dL/dW and dL/dz, ``[members, 2, layers]``."""
        signals = self._forward(self._all(self.x), whole=True).signals
        loss = self._loss(signals[-1], self._all(self.y)).sum()
        theta, *back = torch.autograd.grad(loss, [self.theta, *signals])
        slots = [slot for slot in self.network.slots if slot.kind == "weight"]
        weights = [theta[:, slot.start : slot.stop] for slot in slots]
        both = [_norms(weights), _norms([signal.flatten(1) for signal in back])]
        return np.stack(both, axis=1)

    def units(self) -> Floats:
        """Return dead and saturated shares, ``[members, 2, hidden layers]``."""
        found_at = self._forward(self._all(self.x), whole=True).bends
        signals = [z.detach().requires_grad_() for z in found_at]
        found = np.zeros((len(self.seeds), 2, len(signals)))
        bound: float | Tensor = SATURATED_BELOW * steepest(self.network.phi)[0]
        for layer, z in enumerate(signals):
            (slope,) = torch.autograd.grad(self._activate(z, layer, None).sum(), [z])
            size = slope.abs()
            if self.learns:
                learnt = self._part("slope", layer).detach().abs()[:, :, None]
                bound = SATURATED_BELOW * learnt.clamp(min=1)
            found[:, 0, layer] = (size == 0).all(dim=1).double().mean(dim=1).cpu()
            found[:, 1, layer] = (size < bound).double().mean(dim=(1, 2)).cpu()
        return found

    def steps(self) -> Floats:
        """Return loss and gradient norm of the first steps, ``[members, steps, 2]``."""
        return self.kept

    def first_non_finite(self) -> NDArray[np.int64]:
        """Return the step of that, ``[members]``; 0 if none."""
        found: NDArray[np.int64] = self.bad_since.cpu().numpy()
        return found

    def _step(self, step: int, x: Tensor, y: Tensor) -> None:
        loss = self._loss(self._forward(x, step=step, whole=True).signals[-1], y)
        (gradient,) = torch.autograd.grad(loss.sum(), [self.theta])
        loss = loss.detach()
        if step < self.kept.shape[1]:
            self.kept[:, step, 0] = loss.double().cpu().numpy()
            self.kept[:, step, 1] = gradient.double().norm(dim=1).cpu().numpy()
        with torch.no_grad():
            self.stepper.step(self.theta, gradient)
        bad = ~(loss.isfinite() & self.theta.detach().isfinite().all(dim=1))
        self.bad_since[bad & (self.bad_since == 0)] = step + 1

    def _forward(self, x: Tensor, *, step: int | None = None, whole: bool = False) -> _Pass:
        """Take all members' points through their networks.

        With a step it is training's pass: moments are learnt and RReLU's slopes drawn. ``whole``
        takes batch normalisation's moments from these points.
        """
        signals, bends = [], []
        for layer in range(self.network.layers):
            weight = self._part("weight", layer)
            z = torch.baddbmm(self._part("bias", layer)[:, None], x, weight.transpose(1, 2))
            signals.append(z)
            if layer < self.network.layers - 1:
                if self.network.batch_norm:
                    z = self._normalised(z, layer, whole, step is not None)
                bends.append(z)
                x = self._activate(z, layer, step)
        return _Pass(signals=signals, bends=bends)

    def _activate(self, z: Tensor, layer: int, step: int | None) -> Tensor:
        if self.learns:
            return rectified(z, self._part("slope", layer)[:, :, None])
        bounds = self.bounds
        if bounds is None or step is None:
            return self.phi(z)
        first = sum(self.network.widths[1 : layer + 1])
        counters = entry_counters(
            step,
            range(first, first + z.shape[2]),
            z.shape[1],
            hidden=self.network.hidden_units,
            batch=self.plan.batch,
        )
        drawn = bounds[0] + (bounds[1] - bounds[0]) * noise(self.keys, counters)
        return rectified(z, self._tensor(drawn))

    def _normalised(self, z: Tensor, layer: int, whole: bool, learn: bool) -> Tensor:
        mean, variance = self.moments[layer]
        if whole:
            now = z.mean(dim=1), z.var(dim=1, correction=0)
            if learn:
                points = z.shape[1]
                with torch.no_grad():
                    mean.lerp_(now[0], BATCH_NORM_MOMENTUM)
                    variance.lerp_(now[1] * (points / (points - 1)), BATCH_NORM_MOMENTUM)
            mean, variance = now
        scale = self._part("scale", layer) / torch.sqrt(variance + BATCH_NORM_EPS)
        moved: Tensor = (z - mean[:, None]) * scale[:, None] + self._part("shift", layer)[:, None]
        return moved

    def _loss(self, z: Tensor, y: Tensor) -> Tensor:
        if self.network.loss == "bce":
            each = functional.binary_cross_entropy_with_logits(z, y, reduction="none")
        else:
            each = (z - y) ** 2
        return each.mean(dim=(1, 2))

    def _batch(self, picked: Tensor | None, rows: slice) -> tuple[Tensor, Tensor]:
        if picked is None:
            return self._all(self.x)[:, rows], self._all(self.y)[:, rows]
        at = picked[:, rows]
        if self.x.dim() == 2:
            return self.x[at], self.y[at]
        member = torch.arange(len(at), device=self.device)[:, None]
        return self.x[member, at], self.y[member, at]

    def _all(self, points: Tensor) -> Tensor:
        return points if points.dim() == 3 else points.expand(len(self.seeds), *points.shape)

    def _part(self, kind: SlotKind, layer: int) -> Tensor:
        slot = self.slots[kind, layer]
        return self.theta[:, slot.start : slot.stop].view(-1, *slot.shape)

    def _tensor(self, values: Floats) -> Tensor:
        return torch.as_tensor(np.array(values), dtype=self.dtype).to(self.device)

    def _zeros(self, width: int) -> Tensor:
        return torch.zeros(len(self.seeds), width, dtype=self.dtype, device=self.device)


def _norms(parts: Sequence[Tensor]) -> Floats:
    found: Floats = torch.stack([part.double().norm(dim=1) for part in parts], 1).cpu().numpy()
    return found
