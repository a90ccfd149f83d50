"""Optimisers and clipping on stacked members, by torch's formulas, each with its own rate."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from headwater.lab.optimisers import Clip
from headwater.lab.training import Plan

NORM_EPS = 1e-6
"""What ``clip_grad_norm_`` adds to the norm it divides by."""


class Stepper:
    """The state of one optimiser over all members."""

    def __init__(self, plan: Plan, theta: Tensor) -> None:
        self.optimiser, self.clip = plan.training.optimiser, plan.training.clip
        self.slots = plan.network.slots
        rates = plan.members.learning_rates(self.optimiser)
        self.rate = torch.as_tensor(rates, dtype=theta.dtype).to(theta.device)[:, None]
        self.count = 0
        self.first, self.second = torch.zeros_like(theta), torch.zeros_like(theta)
        self.update = getattr(self, f"_{self.optimiser.kind}")

    def step(self, theta: Tensor, gradient: Tensor) -> None:
        """Clip the gradient ``[members, size]`` and change ``theta`` in place."""
        self.count += 1
        if self.clip is not None:
            gradient = self._clipped(gradient, self.clip)
        if self.optimiser.weight_decay and self.optimiser.kind != "adamw":
            gradient = gradient + self.optimiser.weight_decay * theta
        self.update(theta, gradient)

    def _clipped(self, gradient: Tensor, clip: Clip) -> Tensor:
        if clip.kind == "value":
            return gradient.clamp(-clip.limit, clip.limit)
        if clip.kind == "norm":
            return gradient * _factor(gradient, clip.limit)
        parts = [gradient[:, slot.start : slot.stop] for slot in self.slots]
        return torch.cat([part * _factor(part, clip.limit) for part in parts], dim=1)

    def _sgd(self, theta: Tensor, gradient: Tensor) -> None:
        momentum = self.optimiser.momentum
        if momentum:
            self.first.mul_(momentum).add_(gradient)
            gradient = gradient + momentum * self.first if self.optimiser.nesterov else self.first
        theta.sub_(self.rate * gradient)

    def _adam(self, theta: Tensor, gradient: Tensor) -> None:
        (fast, slow), eps = self.optimiser.betas, self.optimiser.eps
        self.first.lerp_(gradient, 1 - fast)
        self.second.mul_(slow).addcmul_(gradient, gradient, value=1 - slow)
        root = math.sqrt(1 - slow**self.count)
        denominator = self.second.sqrt().div_(root).add_(eps)
        theta.sub_(self.rate / (1 - fast**self.count) * (self.first / denominator))

    def _adamw(self, theta: Tensor, gradient: Tensor) -> None:
        theta.mul_(1 - self.rate * self.optimiser.weight_decay)
        self._adam(theta, gradient)

    def _rmsprop(self, theta: Tensor, gradient: Tensor) -> None:
        alpha, momentum = self.optimiser.alpha, self.optimiser.momentum
        self.second.mul_(alpha).addcmul_(gradient, gradient, value=1 - alpha)
        change = gradient / self.second.sqrt().add_(self.optimiser.eps)
        if momentum:
            change = self.first.mul_(momentum).add_(change)
        theta.sub_(self.rate * change)


def _factor(gradient: Tensor, limit: float) -> Tensor:
    norm = gradient.norm(dim=1, keepdim=True)
    factor: Tensor = (limit / (norm + NORM_EPS)).clamp(max=1.0)
    return factor
