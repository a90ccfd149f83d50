"""A sampled step's figures for every parameter: gradient, weight, update, units.

The gradient is read twice, as it changes on the way: *raw* after each backward pass, and again at
the optimiser's step, where clipping and unscaling have happened. What a figure was read from is
in its name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from headwater.watch.statistics import Scalar, norm, plain, read_scalar, subnormal_limit

ALL_UNITS = 64
"""Layers of up to so many units list the L1 norm of each; larger ones 65 quantiles."""

_WHOLE_COPY = 1 << 26  # entries of all weights that a sample may copy; beyond, a part of each
_PART = 1 << 16

_INPUTS_FIRST = ("ConvTranspose", "Conv1D")  # Conv1D is the transposed dense layer of transformers


@dataclass(frozen=True, slots=True)
class Raw:
    """A raw gradient: after the last backward pass, accumulated, loss-scaled, unclipped."""

    norm: Scalar | None
    largest: Scalar | None
    zero: Scalar | None
    subnormal: Scalar | None
    nonfinite: Scalar | None


@dataclass(slots=True)
class Update:
    """What an optimiser's step did to a parameter."""

    weight_norm: Scalar | None
    weight_nonfinite: Scalar | None
    learning_rate: float | None
    at_step: Scalar | None
    unit_l1: Tensor | None
    units: int | None
    before: Tensor | None
    moving: Tensor | None
    relative: Scalar | None = None
    lost: Scalar | None = None


def read_raw(gradient: Tensor, size: Scalar) -> Raw:
    """Measure a gradient in its own dtype, given its norm.

    Example:
        >>> read_raw(torch.tensor([0.0, 1.0, -2.0, 1e-40]), 5.0**0.5)
        Raw(norm=2.23606797749979, largest=2.0, zero=0.25, subnormal=0.25, nonfinite=0.0)
    """
    values = plain(gradient)
    entries = values.abs()
    count = max(1, gradient.numel())
    stored = torch.count_nonzero(values)
    small = torch.count_nonzero(entries < subnormal_limit(values.dtype))
    largest = entries.amax() if entries.numel() else entries.sum()
    # What a sparse gradient leaves out is zero; what is stored may be, too.
    if entries.device.type != "cpu":
        kept = entries.numel()
        zeros, tiny = count - stored, small - (kept - stored)
        return Raw(size, largest, zeros / count, tiny / count, _nonfinite_share(values, size))
    zero, tiny_count = count - int(stored), int(small) - (entries.numel() - int(stored))
    return Raw(
        size,
        float(largest),
        zero / count,
        tiny_count / count,
        _nonfinite_share(values, size),
    )


def read_before(
    parameters: Mapping[int, Tensor],
    module_types: Mapping[int, str],
    optimiser: Any,
    known: Mapping[int, tuple[int, Scalar]],
) -> dict[int, Update]:
    """Measure weights and keep a copy (of a part, if they are many) just before a step.

    Args:
        parameters: What the optimiser holds, by index.
        module_types: Class of the module that owns each.
        optimiser: For the learning rates of its groups.
        known: (version, norm) of gradients measured before; one not changed since is not again.
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
        part = weight if whole else _part(weight)
        gradient = tensor.grad
        l1, units = _unit_l1(weight, module_types.get(index, ""))
        rate = rates.get(id(tensor))
        size = norm(weight)
        updates[index] = Update(
            weight_norm=size,
            weight_nonfinite=_nonfinite_share(weight, size),
            learning_rate=float(rate) if rate is not None else None,
            at_step=_at_step(gradient, known.get(index)),
            unit_l1=l1,
            units=units,
            before=part.clone(),
            moving=_moving(gradient, part, whole) if gradient is not None else None,
        )
    return updates


def read_after(parameters: Mapping[int, Tensor], updates: Mapping[int, Update]) -> None:
    """Fill in what a step changed, and let the copies go."""
    for index, update in updates.items():
        tensor, before, moving = parameters.get(index), update.before, update.moving
        update.before = update.moving = None
        if tensor is None or before is None:
            continue
        weight = plain(tensor)
        after = weight if weight.shape == before.shape else _part(weight)
        if after.shape != before.shape:
            continue
        whole = before.shape == weight.shape
        scale = update.weight_norm if whole else norm(before)
        update.relative = _ratio(norm(after - before), scale)
        if moving is not None and moving.shape == after.shape:
            lost = torch.count_nonzero(moving & (after == before))
            update.lost = _ratio(_count(lost), _count(torch.count_nonzero(moving)))


def _part(weight: Tensor) -> Tensor:
    flat = weight.reshape(-1)
    return flat[:: max(1, flat.numel() // _PART)]


def _moving(gradient: Tensor, part: Tensor, whole: bool) -> Tensor | None:
    if gradient.layout is not torch.strided:
        return None
    values = plain(gradient)
    moving = (values if whole else _part(values)) != 0
    return moving if moving.shape == part.shape else None


def _unit_l1(weight: Tensor, module_type: str) -> tuple[Tensor | None, int | None]:
    if weight.dim() < 2 or weight.numel() == 0 or not weight.is_floating_point():
        return None, None
    rows = weight.transpose(0, 1) if module_type.startswith(_INPUTS_FIRST) else weight
    l1 = rows.abs().float().sum(dim=list(range(1, rows.dim())))
    units = l1.numel()
    if units > ALL_UNITS:
        places = torch.linspace(0, units - 1, ALL_UNITS + 1, device=l1.device)
        l1 = l1.sort().values[places.round().long()]
    return l1, units


def _at_step(gradient: Tensor | None, known: tuple[int, Scalar] | None) -> Scalar | None:
    if gradient is None:
        return None
    if known is not None and known[0] == gradient._version:
        return known[1]
    return norm(gradient)


def _nonfinite_share(values: Tensor, size: Scalar) -> Scalar:
    if isinstance(size, float) and math.isfinite(size):
        return 0.0  # a norm is finite only if every entry is
    broken = values.numel() - torch.count_nonzero(torch.isfinite(values))
    return _count(broken) / max(1, values.numel())


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

    def unscale(self, scale: Tensor) -> None:
        """Take a fused optimiser's loss scale out of what was read at its step."""
        for update in self.updates.values():
            if update.at_step is not None:
                update.at_step = update.at_step / read_scalar(scale)

    def rows(self) -> Rows:
        """Return the step's rows, their figures still on their devices."""
        indices = sorted(self.raw.keys() | self.updates.keys())
        raws = [self.raw.get(index, _NO_GRADIENT) for index in indices]
        updates = [self.updates.get(index, _NO_STEP) for index in indices]
        at_step = [update.at_step for update in updates]
        known: dict[str, list[Any]] = {
            "step": [self.step] * len(indices),
            "parameter": indices,
            "optimiser": [self.optimiser] * len(indices),
            "learning_rate": [update.learning_rate for update in updates],
            "units": [update.units for update in updates],
        }
        figures: dict[str, list[Scalar | None]] = {
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
            "relative_update": [update.relative for update in updates],
            "lost_share": [update.lost for update in updates],
            "unit_l1": [update.unit_l1 for update in updates],
        }
        return Rows(known, figures)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of ``parameters.arrow``: what is known, and figures yet to be fetched."""

    known: dict[str, list[Any]]
    figures: dict[str, list[Scalar | None]]

    def scalars(self) -> list[Scalar | None]:
        """Return all figures in one list, to be fetched together."""
        return [figure for column in self.figures.values() for figure in column]

    def columns(self, numbers: Sequence[Any]) -> dict[str, list[Any]]:
        """Return the table's columns from the fetched figures."""
        rest = iter(numbers)
        fetched = {name: [next(rest) for _ in column] for name, column in self.figures.items()}
        return {**self.known, **fetched}


_NO_GRADIENT = Raw(None, None, None, None, None)
_NO_STEP = Update(
    weight_norm=None,
    weight_nonfinite=None,
    learning_rate=None,
    at_step=None,
    unit_l1=None,
    units=None,
    before=None,
    moving=None,
)


def _over(size: Scalar | None, scale: Scalar | None) -> Scalar | None:
    if size is None or scale is None:
        return size
    return size / scale
