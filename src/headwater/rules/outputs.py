"""Output units that do not suit the loss: what stands between the last layer and it."""

from __future__ import annotations

import math

import numpy as np

from headwater.records import Where
from headwater.rules.chance import outputs_of
from headwater.rules.facts import Facts
from headwater.rules.targets import RANGES
from headwater.rules.wording import percent, place, where

OUTPUT_FLAT = 0.5
"""Half of an output's examples without a gradient: those can never be learnt from."""

_MOVES = frozenset({"View", "UnsafeView", "Reshape", "Squeeze", "Unsqueeze", "T", "Transpose"})
"""What stands between an activation and a loss without changing a number."""

_SOFTMAXES = frozenset({"Softmax", "LogSoftmax"})


def output_unit(facts: Facts) -> list[tuple[str, str]]:
    """Tell of outputs that are flat, or that cannot reach the targets; empty if there are none."""
    return [
        ("output-range", f"{share} of the outputs are flat at {place(at)}, next to the loss")
        for at, share in flat_outputs(facts)[:1]
    ] or out_of_reach(facts)


def flat_outputs(facts: Facts) -> list[tuple[Where, str]]:
    """See outputs of an activation before a squared loss that have no derivative to learn by."""
    found = []
    for flow in facts.sound:
        one = flow.newest
        rows = np.flatnonzero(one.weights_above == 0)
        if "MseLoss" not in {facts.sites[one.site[row]].operation for row in rows}:
            continue
        for row in rows[one.kind[rows] == "activation"].tolist():
            flat = max(
                float(np.nan_to_num(one.columns[name][row])) for name in ("dead", "saturated")
            )
            if flat >= OUTPUT_FLAT:
                found.append((where(facts.sites[one.site[row]]), percent(flat)))
    return found


def out_of_reach(facts: Facts) -> list[tuple[str, str]]:
    """Tell of an output activation that cannot reach the targets; empty if there is none."""
    return [
        ("output-range", f"{facts.sites[site].operation.lower()} at {place(at)} {why}")
        for site, why in _bounded_outputs(facts)[:1]
        for at in (where(facts.sites[site]),)
    ]


def bounded_places(facts: Facts) -> list[Where]:
    """Return where output activations stand that cannot reach the targets."""
    return [where(facts.sites[site]) for site, _ in _bounded_outputs(facts)]


def _bounded_outputs(facts: Facts) -> list[tuple[int, str]]:
    if len(facts.flows) != 1:
        return []
    one = facts.flows[0].newest
    rows = np.flatnonzero((one.weights_above == 0) & (one.kind == "activation")).tolist()
    told = {int(one.site[row]): _shortfall(facts, row) for row in rows}
    return [(site, why) for site, why in told.items() if why]


def _shortfall(facts: Facts, row: int) -> str:
    """Say what an output activation keeps from the loss, "" if nothing."""
    one = facts.flows[0].newest
    operation = facts.sites[one.site[row]].operation
    after = int(one.parent[row])
    while after >= 0 and facts.sites[one.site[after]].operation in _MOVES:
        after = int(one.parent[after])
    if after >= 0 and facts.sites[one.site[after]].operation == "LogSoftmax":
        return _of_logits(operation, outputs_of(facts.flows[0], facts.parameters)) or (
            _of_dead_logits(facts, float(one.columns["dead"][row]))
        )
    return facts.targets.beyond(operation) if facts.targets is not None else ""


def _of_dead_logits(facts: Facts, dead: float) -> str:
    """Say how many classes have a logit that is 0 for every example, and so cannot be learnt."""
    if not dead > 0 or facts.trend.made_up_for:
        return ""
    return f"is 0 for every example in {percent(dead)} of the classes, which cannot be learnt so"


def _of_logits(operation: str, classes: int) -> str:
    """Say how sure a softmax over bounded logits can be at most, "" where nothing bounds it.

    Example:
        >>> _of_logits("Sigmoid", 10)
        'bounds the logits to 0 to 1, so that no class gets more than 23 %'
    """
    low, high = RANGES.get(operation, (-math.inf, math.inf))
    if classes < 2 or not math.isfinite(high - low):
        return ""
    surest = 1 / (1 + (classes - 1) * math.exp(low - high))
    return (
        f"bounds the logits to {low:g} to {high:g}, so that no class gets more than "
        f"{percent(surest)}"
    )


def softmax_twice(facts: Facts) -> list[tuple[str, str]]:
    """Tell of a softmax before a loss that takes one itself; empty if there is none."""
    return [
        ("double-softmax", f"{place(at)} takes the softmax, and the loss another")
        for at in softmax_places(facts)[:1]
    ]


def softmax_places(facts: Facts) -> list[Where]:
    """See a softmax between the last layer and a loss that takes the logarithm of another."""
    found = []
    for flow in facts.flows:
        one = flow.newest
        rows = np.flatnonzero(one.weights_above == 0)
        at = {facts.sites[one.site[row]].operation: facts.sites[one.site[row]] for row in rows}
        if "Softmax" in at and "LogSoftmax" in at:
            found.append(where(at["Softmax"]))
    return found


def one_unit(facts: Facts) -> list[tuple[str, str]]:
    """Tell of a softmax over a single unit; empty if there is none."""
    return [
        ("softmax-over-one", f"the softmax at {place(at)} is over a single unit, so always 1")
        for at in softmax_over_one(facts)[:1]
    ]


def softmax_over_one(facts: Facts) -> list[Where]:
    """See a softmax after a last layer of one unit, behind which the gradient is exactly zero."""
    found = []
    for flow in facts.flowing:
        one = flow.newest
        near = (one.weights_above == 0) & np.isfinite(one.level)
        for row in np.flatnonzero(near & (one.parameter < 0)).tolist():
            behind = one.level[one.parent == row]
            if facts.sites[one.site[row]].operation not in _SOFTMAXES or not len(behind):
                continue
            if np.isneginf(behind).all() and outputs_of(flow, facts.parameters) == 1:
                found.append(where(facts.sites[one.site[row]]))
    return found
