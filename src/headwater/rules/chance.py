"""Chance level: the loss of a network that ignores its input, and how far below it a loss is.

Where a sample has the targets of its batch, the loss is held against those very targets: what an
unusual batch does to both cancels, so that a hundredth of what there is to learn shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from headwater.rules.passes import Floats, Flow, Pass
from headwater.rules.targets import Targets, target_rows, targets_of

if TYPE_CHECKING:
    from headwater.records import ParameterInfo, Site
    from headwater.rules.facts import Pulse

_TWO_CLASSES = {"BinaryCrossEntropy", "BinaryCrossEntropyWithLogits"}
_MANY_CLASSES = {"NllLoss", "NllLoss2D", "LogSoftmax"}


def chance_of(
    flow: Flow, sites: Sequence[Site], parameters: Sequence[ParameterInfo], pulse: Pulse
) -> float:
    """Return the loss that a constant answer has at best, NaN if it is not known.

    The entropy of the labels or of their share, the variance of the targets; for classes of which
    only the number is known, what it would be if they were balanced.
    """
    targets = targets_of(flow, sites)
    if targets is not None and math.isfinite(targets.chance):
        return targets.chance * _weight(flow, targets, pulse)
    classes = _classes(flow, sites, parameters)
    return math.log(classes) if classes > 1 else math.nan


def explained(flow: Flow, sites: Sequence[Site], pulse: Pulse) -> tuple[Floats, Floats]:
    """Return steps, and for each by which share the loss is below that of a constant answer.

    1 is a perfect answer, 0 one that is right on average only. Samples that do not tell are left
    out; both are empty where none does.
    """
    targets = targets_of(flow, sites)
    weight = _weight(flow, targets, pulse) if targets is not None else math.nan
    steps, shares = [], []
    for one in flow.passes:
        alone = targets_of(Flow(passes=(one,)), sites)
        at = np.flatnonzero(pulse.step == one.step)
        level = alone.chance * weight if alone is not None else math.nan
        if len(at) and math.isfinite(level) and level > 0 and math.isfinite(pulse.loss[at[0]]):
            steps.append(float(one.step))
            shares.append(1 - float(pulse.loss[at[0]]) / level)
    return np.array(steps), np.array(shares)


def outputs_of(flow: Flow, parameters: Sequence[ParameterInfo]) -> int:
    """Return how many units the last layer before a flow's loss has, 0 if it has no matrix."""
    one = flow.newest
    last = (one.kind == "weights") & one.layers & (one.weights_above == 0)
    for leaf in one.leaves.tolist():
        shape = parameters[one.parameter[leaf]].shape
        if len(shape) < 2:
            continue
        above = int(one.parent[leaf])
        while above >= 0 and one.kind[above] in {"shape", "precision"}:  # transposed, or cast
            above = int(one.parent[above])
        if above >= 0 and last[above]:
            return int(shape[0])
    return 0


def _classes(flow: Flow, sites: Sequence[Site], parameters: Sequence[ParameterInfo]) -> int:
    """Return how many classes a flow's loss tells apart, 0 if it is not a classifier's."""
    one = flow.newest
    near = {sites[site].operation for site in one.site[one.weights_above == 0]}
    if _TWO_CLASSES & near:
        return 2
    return outputs_of(flow, parameters) if _MANY_CLASSES & near else 0


def _weight(flow: Flow, targets: Targets, pulse: Pulse) -> float:
    """Return what multiplies the mean loss: N for a sum of N squares, a factor of the script's."""
    of_loss = _weight_of_squares if targets.loss == "MseLoss" else _weight_of_mean
    return of_loss(flow.passes[0], pulse)


def _weight_of_mean(one: Pass, pulse: Pulse) -> float:
    """Tell the weight of a loss that is one number from the gradient that arrives at it.

    The script's own factor is in it, and a gradient scaler's, which the recorded loss is free of. A
    step of several passes has the sum of their losses.
    """
    at = np.flatnonzero(pulse.step == one.step)
    rows = target_rows(one)
    if not len(at) or not rows or one.columns["elements"][rows[0]] != 1:
        return 1.0
    scale = pulse.loss_scale[at[0]]
    passes = max(1, int(pulse.backwards[at[0]]))
    factor = 10.0 ** one.level[rows[0]] / (scale if np.isfinite(scale) and scale > 0 else 1.0)
    return float(factor * passes) if 0 < factor < math.inf else math.nan


def _weight_of_squares(one: Pass, pulse: Pulse) -> float:
    """Tell the weight from the first gradient.

    With the weight w a loss of L has a gradient of norm 2 sqrt(w L / N) at its N outputs. A step of
    several passes has the sum of their losses.
    """
    at = np.flatnonzero(pulse.step == one.step)
    rows = target_rows(one)
    after = np.flatnonzero(np.isin(one.parent, rows[:1]))
    if not len(at) or not len(after) or not pulse.loss[at[0]] > 0:
        return math.nan
    norm = 10.0 ** (one.level[rows[0]] + one.columns["edge_decades"][after[0]])
    passes = max(1, int(pulse.backwards[at[0]]))
    entries, loss = one.columns["elements"][after[0]], pulse.loss[at[0]]
    return float(entries * norm**2 * passes**2 / (4 * loss))
