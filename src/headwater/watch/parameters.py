"""A sampled step's figures for every parameter: gradient, weight, update, units.

The gradient is read twice, as it changes on the way: *raw* after each backward pass, and again at
the optimiser's step, where clipping and unscaling have happened. What a figure was read from is
in its name.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from headwater.watch.exponents import Packed, count_columns, count_exponents, unpack
from headwater.watch.spectral import spectral_radius
from headwater.watch.statistics import (
    Scalar,
    norm,
    plain,
    read_scalar,
    subnormal_limit,
    without_scale,
)

ALL_UNITS = 64
"""Layers of up to so many units list the L1 norm of each; larger ones 65 quantiles."""

_WHOLE_COPY = 1 << 26  # entries of all weights that a sample may copy; beyond, a part of each
_PART = 1 << 16

_INPUTS_FIRST = ("ConvTranspose", "Conv1D")  # Conv1D is the transposed dense layer of transformers


Layer = tuple[str, int]
"""The layer that owns a parameter: its class, and a convolution's groups (1 elsewhere)."""


@dataclass(frozen=True, slots=True)
class Raw:
    """A raw gradient: after the last backward pass, accumulated, loss-scaled, unclipped."""

    norm: Scalar | None
    largest: Scalar | None = None
    zero: Scalar | None = None
    subnormal: Scalar | None = None
    nonfinite: Scalar | None = None
    exponents: Packed | None = None


@dataclass(slots=True)
class Update:
    """What an optimiser's step did to a parameter."""

    weight_norm: Scalar | None = None
    weight_nonfinite: Scalar | None = None
    spectral_radius: Scalar | None = None
    learning_rate: float | None = None
    unit_l1: Tensor | None = None
    units: int | None = None
    before: Tensor | None = None
    moving: Tensor | None = None
    at_step: Scalar | None = None
    relative: Scalar | None = None
    lost: Scalar | None = None
    change: Tensor | None = None


def read_raw(gradient: Tensor, size: Scalar) -> Raw:
    """Measure a gradient in its own dtype, given its norm.

    Example:
        >>> raw = read_raw(torch.tensor([0.0, 1.0, -2.0, 1e-40]), 5.0**0.5)
        >>> raw.norm, raw.largest, raw.zero, raw.subnormal, raw.nonfinite
        (2.23606797749979, 2.0, 0.25, 0.25, 0.0)
    """
    values = plain(gradient)
    entries = values.abs()
    stored = torch.count_nonzero(values)
    small = torch.count_nonzero(entries < subnormal_limit(values.dtype))
    largest = entries.amax() if entries.numel() else entries.sum()
    # What a sparse gradient leaves out is zero; what is stored may be, too.
    zeros, tiny = gradient.numel() - stored, small - (entries.numel() - stored)
    count = max(1, gradient.numel())
    return Raw(
        size,
        _count(largest),
        _count(zeros) / count,
        _count(tiny) / count,
        _nonfinite_share(values, size, count),
        count_exponents(values),
    )


def read_before(
    parameters: Mapping[int, Tensor],
    layers: Mapping[int, Layer],
    optimiser: Any,
    looped: Collection[int] = (),
) -> dict[int, Update]:
    """Measure weights and keep a copy (of a part, if they are many) just before a step.

    Args:
        parameters: What the optimiser holds, by index.
        layers: The layers that own them.
        optimiser: For the learning rates of its groups.
        looped: Those that one pass used again and again: what they do in the long run is measured.
    """
    rates = {
        id(tensor): group.get("lr")
        for group in optimiser.param_groups
        for tensor in group["params"]
    }
    whole = sum(tensor.numel() for tensor in parameters.values()) <= _WHOLE_COPY
    updates: dict[int, Update] = {}
    for index, tensor in parameters.items():
        weight = plain(tensor)
        l1, units = _unit_l1(weight, layers[index])
        rate = rates.get(id(tensor))
        size = norm(weight)
        updates[index] = Update(
            weight_norm=size,
            weight_nonfinite=_nonfinite_share(weight, size, weight.numel()),
            spectral_radius=spectral_radius(weight) if index in looped else None,
            learning_rate=float(rate) if rate is not None else None,
            unit_l1=l1,
            units=units,
            before=(weight if whole else part(weight)).clone(),
        )
    return updates


def read_applied(
    parameters: Mapping[int, Tensor], updates: Mapping[int, Update], scale: Tensor | None
) -> None:
    """Measure the gradients that a step is about to use; measured again, whatever was before.

    No version tells what a gradient scaler's kernel or a user's ``.data`` has changed.

    Args:
        parameters: What the optimiser holds, by index.
        updates: To be filled in.
        scale: The loss scale that a fused optimiser takes out by itself.
    """
    for index, update in updates.items():
        gradient = parameters[index].grad
        if gradient is not None and update.before is not None:
            size = norm(gradient)
            update.at_step = size if scale is None else without_scale(size, read_scalar(scale))
            update.moving = _moving(gradient, update.before)


def read_after(parameters: Mapping[int, Tensor], updates: Mapping[int, Update]) -> None:
    """Fill in what a step changed, and let the copies go; of the changes a part is kept."""
    for index, update in updates.items():
        tensor, before, moving = parameters.get(index), update.before, update.moving
        update.before = update.moving = None
        if tensor is None or before is None:
            continue
        weight = plain(tensor)
        after = weight if weight.shape == before.shape else part(weight)
        if after.shape != before.shape:
            continue
        whole = before.shape == weight.shape
        scale = update.weight_norm if whole else norm(before)
        change = _difference(after, before)
        update.relative = _ratio(norm(change), scale)
        if change.is_floating_point():
            update.change = part(change) if change.numel() < 2 * _PART else part(change).clone()
        if moving is not None and moving.shape == after.shape:
            lost = torch.count_nonzero(moving & (after == before))
            update.lost = _ratio(_count(lost), _count(torch.count_nonzero(moving)))


def part(weight: Tensor) -> Tensor:
    """Return all entries in a row, or of many every nth, 65,536 to twice as many."""
    flat = weight.reshape(-1)
    return flat[:: max(1, flat.numel() // _PART)]


def _difference(after: Tensor, before: Tensor) -> Tensor:
    """Subtract without rounding to a half-precision weight's own few digits."""
    half = after.dtype in (torch.float16, torch.bfloat16)
    return after.float() - before.float() if half else after - before


def _moving(gradient: Tensor, kept: Tensor) -> Tensor | None:
    if gradient.layout is not torch.strided:
        return None
    values = plain(gradient)
    moving = (values if values.shape == kept.shape else part(values)) != 0
    return moving if moving.shape == kept.shape else None


def _unit_l1(weight: Tensor, layer: Layer) -> tuple[Tensor | None, int | None]:
    if weight.dim() < 2 or weight.numel() == 0 or not weight.is_floating_point():
        return None, None
    sizes = weight.abs()
    kind, groups = layer
    if kind.startswith(_INPUTS_FIRST):  # [groups * inputs, outputs, …] to units first
        sizes = sizes.reshape(groups, -1, *sizes.shape[1:]).transpose(1, 2).flatten(0, 1)
    wide = torch.float64 if weight.dtype is torch.float64 else torch.float32
    l1 = sizes.sum(dim=list(range(1, sizes.dim())), dtype=wide)
    units = l1.numel()
    if units > ALL_UNITS:
        places = torch.linspace(0, units - 1, ALL_UNITS + 1, device=l1.device)
        l1 = l1.sort().values[places.round().long()]
    return l1, units


def _nonfinite_share(values: Tensor, size: Scalar, count: int) -> Scalar:
    if isinstance(size, float) and math.isfinite(size):
        return 0.0  # a norm is finite only if every entry is
    broken = values.numel() - torch.count_nonzero(torch.isfinite(values))
    return _count(broken) / max(1, count)


def _count(value: Tensor) -> Scalar:
    return float(value.item()) if value.device.type == "cpu" else value.to(torch.float64)


def _ratio(part: Scalar, whole: Scalar | None) -> Scalar | None:
    if whole is None:
        return None
    if isinstance(part, float) and isinstance(whole, float):
        return part / whole if whole else None
    return torch.as_tensor(part) / torch.as_tensor(whole)


@dataclass(slots=True)
class ParameterSample:
    """All that one sampled step gathers about parameters, until its row is written."""

    step: int
    optimiser: int | None = None
    loss_scale: Scalar | None = None
    skipped: bool = False
    raw: dict[int, Raw] = field(default_factory=dict)
    updates: dict[int, Update] = field(default_factory=dict)

    def inherit(self, before: ParameterSample) -> None:
        """Take over the raw gradients that an optimiser left for the next one."""
        steps = self.updates
        left = {i for i in before.raw if i not in steps or steps[i].at_step is not None}
        self.raw = {index: before.raw[index] for index in left}

    def rows(self, held: Mapping[int, int | None]) -> Rows:
        """Return the step's rows, their figures still on their devices.

        Of the parameters there are those its optimiser ``held``, and those that none does.
        """
        mine = {index for index in self.raw if held[index] in (self.optimiser, None)}
        indices = sorted(mine | self.updates.keys())
        raws = [self.raw.get(index, _NO_GRADIENT) for index in indices]
        updates = [self.updates.get(index, _NO_STEP) for index in indices]
        at_step = [update.at_step for update in updates]
        known: dict[str, list[Any]] = {
            "step": [self.step] * len(indices),
            "parameter": indices,
            "optimiser": [held[index] for index in indices],
            "learning_rate": [update.learning_rate for update in updates],
            "units": [update.units for update in updates],
        }
        figures: dict[str, list[Any]] = {
            "raw_norm": [raw.norm for raw in raws],
            "unscaled_norm": [_over(raw.norm, self.loss_scale) for raw in raws],
            "clipped_norm": at_step,
            "applied_norm": [None] * len(indices) if self.skipped else at_step,
            "gradient_max": [raw.largest for raw in raws],
            "zero_share": [raw.zero for raw in raws],
            "subnormal_share": [raw.subnormal for raw in raws],
            "nonfinite_share": [raw.nonfinite for raw in raws],
            "weight_norm": [update.weight_norm for update in updates],
            "weight_nonfinite_share": [update.weight_nonfinite for update in updates],
            "spectral_radius": [update.spectral_radius for update in updates],
            "relative_update": [update.relative for update in updates],
            "lost_share": [update.lost for update in updates],
            "unit_l1": [update.unit_l1 for update in updates],
            _EXPONENTS: [raw.exponents for raw in raws],
        }
        return Rows(known, figures)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of ``parameters.arrow``: what is known, and figures yet to be fetched."""

    known: dict[str, list[Any]]
    figures: dict[str, list[Any]]

    def scalars(self) -> list[Any]:
        """Return all figures in one list, to be fetched together."""
        return [figure for column in self.figures.values() for figure in column]

    def columns(self, numbers: Sequence[Any]) -> dict[str, list[Any]]:
        """Return the table's columns from the fetched figures."""
        rest = iter(numbers)
        fetched = {name: [next(rest) for _ in column] for name, column in self.figures.items()}
        counts = count_columns("gradient", [unpack(one) for one in fetched.pop(_EXPONENTS)])
        return {**self.known, **fetched, **counts}


_EXPONENTS = "exponents"
_NO_GRADIENT = Raw(None)
_NO_STEP = Update()


def _over(size: Scalar | None, scale: Scalar | None) -> Scalar | None:
    if size is None or scale is None:
        return size
    return without_scale(size, scale)
