"""How the slope along an update changes over it: curvature where the training goes, for two dots.

An update ``d`` and the gradients before and after it, ``g`` and ``h``, tell what the step met on
its way: ``g.d`` is the change of the loss that it should bring, ``h.d`` the slope that it arrives
at, and ``(h - g).d / d.d`` the curvature between. The three are taken of the gradients as the
optimiser gets them and scaled back to what backward made, so that neither clipping nor a loss scale
shows.

Source: Nocedal and Wright, Numerical Optimization (2006), equation 6.6, the secant equation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from headwater.watch.parameters import Update, part
from headwater.watch.statistics import Scalar, combine, norms, plain, read_scalar, without_scale
from headwater.watch.steps import Step

_PATIENCE = 8
"""Steps of others until an optimiser's next one: as many as take turns in one round of samples."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """What one update changed, of large tensors a part, and what a part counts for."""

    step: int
    changes: Mapping[int, Tensor]
    weights: Mapping[int, float]


@dataclass(slots=True)
class Secants:
    """Keeps each optimiser's last sampled update until its next gradient has come."""

    _taken: dict[int, _Taken] = field(default_factory=dict)

    def waits(self, step: int) -> bool:
        """Whether a gradient is wanted at a step; an optimiser that comes no more is given up."""
        if self._taken:
            late = [one for one, each in self._taken.items() if step - each.step > _PATIENCE]
            for optimiser in late:
                del self._taken[optimiser]
        return bool(self._taken)

    def arrive(self, optimiser: int, held: Mapping[int, Tensor], step: Step) -> None:
        """Take the slope that the update before has arrived at."""
        taken = self._taken.pop(optimiser, None)
        if taken is not None:
            step.slope_after = _slope(held, taken, step)

    def leave(
        self, optimiser: int, held: Mapping[int, Tensor], step: Step, updates: Mapping[int, Update]
    ) -> None:
        """Take the slope that an update left from, and keep the update."""
        changes = {index: one.change for index, one in updates.items() if one.change is not None}
        for one in updates.values():
            one.change = None
        changes = {i: each for i, each in changes.items() if i in held and each.numel()}
        if not changes:
            return
        weights = {i: plain(held[i]).numel() / each.numel() for i, each in changes.items()}
        taken = _Taken(step.number, changes, weights)
        sizes = norms(list(changes.values()))
        step.update_norm = combine(
            [size * weights[i] ** 0.5 for i, size in zip(changes, sizes, strict=True)]
        )
        step.slope = _slope(held, taken, step)
        self._taken[optimiser] = taken


def _slope(held: Mapping[int, Tensor], taken: _Taken, step: Step) -> Scalar | None:
    """Return gradient times change over all parameters, as of the gradient that backward made."""
    gradients = {i: held[i].grad for i in taken.changes if i in held}
    usable = {
        i: plain(each)
        for i, each in gradients.items()
        if each is not None and each.layout is torch.strided and each.is_floating_point()
    }
    raw = [size for i, size in step.norms or () if i in usable]
    if not usable or len(raw) != len(usable):
        return None
    total: Scalar = 0.0
    for index, gradient in usable.items():
        change = taken.changes[index]
        kept = part(gradient)
        if kept.numel() != change.numel():
            return None
        product = torch.dot(kept.reshape(-1).double(), change.reshape(-1).double())
        total = total + taken.weights[index] * read_scalar(product)
    made = combine(raw) if step.loss_scale is None else without_scale(combine(raw), step.loss_scale)
    return total * _over(made, combine(norms(list(usable.values()))))


def _over(made: Scalar, applied: Scalar) -> Scalar:
    if isinstance(made, float) and isinstance(applied, float):
        return made / applied if applied else 0.0
    return torch.as_tensor(made) / torch.as_tensor(applied)
