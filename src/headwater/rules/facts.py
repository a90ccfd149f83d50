"""What the rules judge, computed once from a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from headwater.rules.chance import chance_of, explained
from headwater.rules.passes import Bools, Floats, Flow, Ints, indices, numbers, read_flows
from headwater.rules.targets import Targets, targets_of
from headwater.rules.trend import Trend, held_to_targets, loss_trend

if TYPE_CHECKING:
    from headwater.records import Fault, OptimiserInfo, ParameterInfo, Site
    from headwater.runs.reader import Run

_PARAMETER_COLUMNS = (
    "learning_rate",
    "raw_norm",
    "unscaled_norm",
    "clipped_norm",
    "applied_norm",
    "weight_norm",
    "weight_nonfinite_share",
    "spectral_radius",
    "relative_update",
    "lost_share",
    "subnormal_share",
    "gradient_max",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pulse:
    """The columns of ``pulse.arrow``; null as NaN, ``optimiser`` as -1, ``skipped`` as False.

    ``total_norm`` has the loss scale taken out. ``bad`` marks, for each step and parameter, a
    gradient that was not finite.
    """

    step: Ints
    optimiser: Ints
    loss: Floats
    has_loss: Bools
    loss_scale: Floats
    skipped: Bools
    total_norm: Floats
    update_norm: Floats
    slope: Floats
    slope_after: Floats
    backwards: Ints
    bad: Bools


@dataclass(frozen=True, kw_only=True, eq=False)
class Movement:
    """The columns of ``parameters.arrow``, each ``[sampled step, parameter]``; null as NaN."""

    step: Ints
    learning_rate: Floats
    raw_norm: Floats
    unscaled_norm: Floats
    clipped_norm: Floats
    applied_norm: Floats
    weight_norm: Floats
    weight_nonfinite_share: Floats
    spectral_radius: Floats
    relative_update: Floats
    lost_share: Floats
    subnormal_share: Floats
    gradient_max: Floats

    def row(self, step: int) -> int | None:
        """Return the matrices' row of a step, None if the step has none."""
        found = int(np.searchsorted(self.step, step))
        return found if found < len(self.step) and self.step[found] == step else None


class Facts:
    """A run as the rules see it: each fact is computed when first asked for, and kept."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.sites: Sequence[Site] = run.sites
        self.parameters: Sequence[ParameterInfo] = run.parameters
        self.optimisers: Sequence[OptimiserInfo] = run.info.optimisers
        self.faults: Sequence[Fault] = run.info.faults

    @cached_property
    def pulse(self) -> Pulse:
        """The pulse as arrays."""
        table = self.run.pulse
        scale = numbers(table, "loss_scale")
        taken_out = np.where(np.isfinite(scale) & (scale > 0), scale, 1.0)
        return Pulse(
            step=indices(table, "step"),
            optimiser=indices(table, "optimiser"),
            loss=numbers(table, "loss"),
            has_loss=~np.asarray(table["loss"].is_null()),
            loss_scale=scale,
            skipped=np.asarray(pc.fill_null(table["skipped"], False)).astype(bool),
            total_norm=numbers(table, "total_norm") / taken_out,
            update_norm=numbers(table, "update_norm"),
            slope=numbers(table, "slope"),
            slope_after=numbers(table, "slope_after"),
            backwards=indices(table, "backwards"),
            bad=self._bad_gradients(),
        )

    @cached_property
    def movement(self) -> Movement:
        """The parameters' rows as matrices."""
        table = self.run.parameter_rows
        step, parameter = indices(table, "step"), indices(table, "parameter")
        steps, row = np.unique(step, return_inverse=True)
        known = (parameter >= 0) & (parameter < len(self.parameters))
        matrices = {}
        for name in _PARAMETER_COLUMNS:
            matrix = np.full((len(steps), len(self.parameters)), np.nan)
            matrix[row[known], parameter[known]] = numbers(table, name)[known]
            matrices[name] = matrix
        return Movement(step=steps, **matrices)

    @cached_property
    def unit_spread(self) -> Floats:
        """By how much units' L1 norms differ, over the largest, ``[sampled step, parameter]``.

        NaN where there is one unit only, or none with a weight that is not 0.
        """
        table = self.run.parameter_rows
        table = table.filter(pc.greater(pc.list_value_length(table["unit_l1"]), 1))
        step, parameter = indices(table, "step"), indices(table, "parameter")
        column = table["unit_l1"].combine_chunks()
        ends = np.cumsum(np.asarray(pc.list_value_length(column), dtype=int))
        sizes = np.asarray(column.flatten().to_numpy(zero_copy_only=False), dtype=np.float64)
        spread = np.full((len(self.movement.step), len(self.parameters)), np.nan)
        if not len(ends):
            return spread
        starts = np.append(0, ends[:-1])
        high, low = np.maximum.reduceat(sizes, starts), np.minimum.reduceat(sizes, starts)
        known = (parameter >= 0) & (parameter < len(self.parameters)) & (high > 0)
        row = np.searchsorted(self.movement.step, step[known])
        with np.errstate(invalid="ignore"):  # infinite weights differ by nothing that is a number
            spread[row, parameter[known]] = (high - low)[known] / high[known]
        return spread

    @cached_property
    def flows(self) -> tuple[Flow, ...]:
        """The judged backward passes, one flow for each loss."""
        return read_flows(self.run)

    @cached_property
    def flowing(self) -> tuple[Flow, ...]:
        """The flows with at least three passes, which is what a verdict on them needs.

        One sample is step 0 alone, where zero-initialised branches pass nothing by design; two
        cannot outvote each other.
        """
        return tuple(flow for flow in self.sound if len(flow.passes) >= 3)

    @cached_property
    def sound(self) -> tuple[Flow, ...]:
        """The flows up to where the numbers broke: NaN weights look dead and saturated."""
        end = self.broken_step
        cut = (
            Flow(passes=tuple(one for one in flow.passes if end is None or one.step < end))
            for flow in self.flows
        )
        return tuple(flow for flow in cut if flow.passes)

    @cached_property
    def broken_step(self) -> int | None:
        """The step from which the loss, or a weight, is not finite any more."""
        pulse, movement = self.pulse, self.movement
        finite = np.isfinite(pulse.loss[pulse.has_loss])
        bad = movement.step[(movement.weight_nonfinite_share > 0).any(axis=1)].tolist()
        if len(finite) and not finite[-1]:
            after = int(np.flatnonzero(finite)[-1]) + 1 if finite.any() else 0
            bad.append(int(pulse.step[pulse.has_loss][after]))
        return min(bad, default=None)

    @cached_property
    def adversarial(self) -> bool:
        """Whether several optimisers each have a loss of their own, as in a GAN."""
        pulse = self.pulse
        return len(np.unique(pulse.optimiser[pulse.has_loss & (pulse.optimiser >= 0)])) > 1

    @cached_property
    def trend(self) -> Trend:
        """What the loss did."""
        if self.adversarial:
            return Trend(
                state="unknown",
                reason="several optimisers pull on losses of their own, as in a GAN",
            )
        losses = self.pulse.loss[self.pulse.has_loss]
        trend = loss_trend(losses, chance=self.chance)
        if len(self.flows) != 1 or trend.state == "unknown":
            return trend
        steps, shares = explained(self.flows[0], self.sites, self.pulse)
        return held_to_targets(trend, losses, shares[steps >= self.last_step / 2])

    @cached_property
    def steps(self) -> int:
        """Steps recorded."""
        return len(self.pulse.step)

    @cached_property
    def last_step(self) -> int:
        """The newest step recorded."""
        newest = [
            int(values[-1]) for values in (self.pulse.step, self.movement.step) if len(values)
        ]
        return max([0, *newest, *self.run.sampled_steps[-1:]])

    @cached_property
    def reached(self) -> frozenset[int]:
        """The parameters in the graph of any judged pass."""
        leaves = [one.parameter[one.leaves] for flow in self.flows for one in flow.passes]
        return frozenset(np.concatenate(leaves).tolist()) if leaves else frozenset()

    @cached_property
    def chance(self) -> float:
        """The loss of a network that ignores its input, NaN if unknown."""
        found = {chance_of(flow, self.sites, self.parameters, self.pulse) for flow in self.flows}
        return found.pop() if len(found) == 1 else math.nan

    @cached_property
    def targets(self) -> Targets | None:
        """What the loss asks for, where it keeps it and there is one loss."""
        return targets_of(self.flows[0], self.sites) if len(self.flows) == 1 else None

    @cached_property
    def matrices(self) -> Bools:
        """Parameters with two dimensions or more that train and did not start at zero.

        Vectors (biases, gains) start at 0 or 1 and move by other measures; a matrix that starts at
        zero (LoRA, zero-initialised branches) makes what is behind it start late by design.
        """
        shaped = [len(info.shape) > 1 and info.requires_grad for info in self.parameters]
        return np.array(shaped, dtype=bool) & ~self.started_at_zero

    @cached_property
    def started_at_zero(self) -> Bools:
        """Parameters whose weights were all zero when first seen."""
        norms = self.movement.weight_norm
        if not len(norms):
            return np.zeros(len(self.parameters), dtype=bool)
        first = np.argmax(~np.isnan(norms), axis=0)
        zero: Bools = norms[first, np.arange(norms.shape[1])] == 0
        return zero

    def module_type(self, path: str) -> str:
        """Return the class name of the module at ``path``."""
        return self._module_types.get(path, "")

    def root_module(self, site: int) -> str:
        """Return which of several observed networks a site belongs to; "" if there is one."""
        path = self.sites[site].module
        return next((root for root in self._roots if path.split(".")[0] == root), "")

    @cached_property
    def _module_types(self) -> dict[str, str]:
        return {str(entry["path"]): str(entry["type"]) for entry in self.run.info.modules}

    @cached_property
    def _roots(self) -> tuple[str, ...]:
        """The roots' class names, by which paths start when several networks train."""
        if "" in self._module_types:
            return ()
        return tuple(path for path in self._module_types if "." not in path)

    def _bad_gradients(self) -> Bools:
        column = self.run.pulse["gradient_norms"].combine_chunks()
        lengths = np.asarray(pc.fill_null(pc.list_value_length(column), 0)).astype(int)
        values = column.flatten()
        bad = ~np.isfinite(np.asarray(pc.fill_null(values, 0.0)))
        marks = np.zeros((len(lengths), max(lengths, default=0)), dtype=bool)
        marks[np.arange(marks.shape[1]) < lengths[:, None]] = bad
        return marks
