"""HW301: where something was first not finite."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from headwater.records import Cause, Finding, Verdict, Where
from headwater.rules.answers import cannot_say, healthy, wrong
from headwater.rules.breaks import CAUSES as NUMBERS_BREAK
from headwater.rules.breaks import finding_of, told_by
from headwater.rules.expressions import instead
from headwater.rules.facts import Facts
from headwater.rules.passes import Bools, Pass
from headwater.rules.sizes import ADVICE, never_zeroed, why_too_large
from headwater.rules.sizes import CAUSES as TOO_LARGE
from headwater.rules.sizes import REMEDIES as ADVISED
from headwater.rules.trend import runaway
from headwater.rules.wording import count, line, names, unique, where


@dataclass(frozen=True, kw_only=True)
class PrecisionLimits:
    """When overflow under a GradScaler is more than its search for a scale."""

    # From the default scale of 65,536 sixteen halvings reach 1; a scaler in service skips one step
    # in 2,000. Ten in a row is no search any more.
    skips_in_a_row: int = 10
    # A scale under 1 shrinks the loss: the gradient overflows by itself.
    least_scale: float = 1.0


LIMITS = PrecisionLimits()


class HW301:
    """Not finite.

    What it sees:
        The first step at which the loss, a parameter's gradient or a weight holds a NaN or an
        infinity, what it was, and, if the step was sampled, the operation whose backward received
        finite numbers and handed on others. Steps that a GradScaler skips are its way of finding
        the scale, and a fault only ten in a row or once the scale is below 1.

    Why it hurts:
        One NaN in a weight makes every output NaN from then on.

    Example:
        ``torch.log(torch.sigmoid(x))`` is minus infinity from x = -89 on, and its gradient NaN.

    References:
        Micikevicius et al. (2018), Mixed precision training, arXiv:1710.03740, for loss scaling.
    """

    symptom: ClassVar[str] = "non-finite"
    causes: ClassVar[tuple[str, ...]] = (*NUMBERS_BREAK, *TOO_LARGE)

    def judge(self, facts: Facts) -> Verdict:
        """Look for the first step with anything that is not finite."""
        if not facts.steps:
            return cannot_say(self, "no steps recorded")
        seen = [found for found in (_in_loss(facts), _in_gradients(facts), _in_weights(facts))
                if found is not None]  # fmt: skip
        overflow = _overflow(facts)
        if overflow is not None:
            return wrong(self, [overflow])
        fault = told_by(facts.faults)
        if fault is not None and not seen:
            return wrong(self, [finding_of(facts, fault)])
        if not seen:
            return healthy(self, "every loss, gradient and weight seen is finite")
        first = min(step for step, _, _ in seen)
        if fault is not None and fault.step <= first:
            return wrong(self, [finding_of(facts, fault)])
        return wrong(self, [_finding(facts, first, [one for one in seen if one[0] == first])])


_WEIGHT = "a weight is not finite"

Seen = tuple[int, str, tuple[int, ...]]
"""The step, what was not finite, and the parameters it was seen in."""


def _in_loss(facts: Facts) -> Seen | None:
    pulse = facts.pulse
    bad = np.flatnonzero(pulse.has_loss & ~np.isfinite(pulse.loss))
    if not len(bad):
        return None
    what = "NaN" if np.isnan(pulse.loss[bad[0]]) else "infinite"
    return int(pulse.step[bad[0]]), f"the loss is {what}", ()


def _in_gradients(facts: Facts) -> Seen | None:
    pulse = facts.pulse
    bad = pulse.bad & ~_excused(facts)[:, None]
    rows = np.flatnonzero(bad.any(axis=1))
    if not len(rows):
        return None
    return int(pulse.step[rows[0]]), "a gradient is not finite", tuple(np.flatnonzero(bad[rows[0]]))


def _in_weights(facts: Facts) -> Seen | None:
    bad = facts.movement.weight_nonfinite_share > 0
    rows = np.flatnonzero(bad.any(axis=1))
    if not len(rows):
        return None
    return (
        int(facts.movement.step[rows[0]]),
        _WEIGHT,
        tuple(np.flatnonzero(bad[rows[0]])),
    )


def _excused(facts: Facts) -> Bools:
    """Mark the steps that the GradScaler skipped, and an unfinished last one under it."""
    pulse = facts.pulse
    unfinished = np.zeros(len(pulse.step), dtype=bool)
    unfinished[-1:] = np.isfinite(pulse.loss_scale[-1:]) & (pulse.optimiser[-1:] < 0)
    excused: Bools = pulse.skipped | unfinished
    return excused


def _overflow(facts: Facts) -> Finding | None:
    """Judge the scaler: ten skips in a row, or a scale below 1."""
    pulse = facts.pulse
    if not pulse.skipped.any():
        return None
    run = longest = start = 0
    for row, skipped in enumerate(pulse.skipped.tolist()):
        run = run + 1 if skipped else 0
        if run > longest:
            longest, start = run, row - run + 1
    scale = float(np.nanmin(pulse.loss_scale)) if np.isfinite(pulse.loss_scale).any() else np.inf
    if longest <= LIMITS.skips_in_a_row and not scale < LIMITS.least_scale:
        return None
    step = int(pulse.step[start])
    evidence = {
        "skips_in_a_row": longest,
        "skips_limit": LIMITS.skips_in_a_row,
        "loss_scale": scale,
        "loss_scale_limit": LIMITS.least_scale,
    }
    fault = told_by(facts.faults)
    if fault is not None and step <= fault.step <= pulse.step[start + longest - 1]:
        then = f", so that the GradScaler skipped {count(longest, 'step')} in a row"
        told = finding_of(facts, fault, then)
        return replace(told, evidence={**told.evidence, **evidence})
    culprits = _infos(facts, np.flatnonzero(pulse.bad[start]).tolist())
    return Finding(
        code="HW301",
        symptom=HW301.symptom,
        severity="error",
        confidence=0.9,
        first_step=step,
        step=facts.last_step,
        where=culprits,
        message=f"The GradScaler skipped {longest} steps in a row and is down to a scale of "
        f"{scale:.2g}: no scale makes this gradient finite. Run the loss in float32, or use "
        "bfloat16.",
        evidence=evidence,
        remedies=("bfloat16", "float32-loss", "gradient-clipping"),
    )


def _infos(facts: Facts, indices: list[int]) -> tuple[Where, ...]:
    known = [facts.parameters[index] for index in indices if index < len(facts.parameters)]
    return tuple(Where(module=info.module, parameter=info.name) for info in known)


def _finding(facts: Facts, step: int, seen: list[Seen]) -> Finding:
    parameters = sorted({index for _, _, found in seen for index in found})
    producer = _producer(facts, step)
    infos = [facts.parameters[index] for index in parameters if index < len(facts.parameters)]
    what = " and ".join(text for _, text, _ in seen)
    of = f" (first in {names(infos)})" if infos else ""
    after, causes, remedies = _came_of(facts, producer, seen)
    places = (producer,) if producer is not None else ()
    return Finding(
        code="HW301",
        symptom=HW301.symptom,
        severity="error",
        confidence=0.95,
        first_step=step,
        step=facts.last_step,
        where=unique([*places, *_infos(facts, parameters), *([] if places else _root(facts))]),
        message=f"At step {step} {what}{of}. {after}",
        evidence={"step": step, "parameters": len(parameters), "nonfinite_limit": 0},
        causes=causes,
        remedies=remedies,
    )


_Blamed = tuple[str, tuple[Cause, ...], tuple[str, ...]]


def _came_of(facts: Facts, producer: Where | None, seen: list[Seen]) -> _Blamed:
    """Tell what it came of where no operation is known: advice, causes, remedies."""
    if all(text == _WEIGHT for _, text, _ in seen):
        advice = (
            "No gradient seen was: an update made it so. Look at the learning rate, and at the "
        )
        cause = Cause(cause="bad-update", share=1.0, evidence="gradients are finite")
        return advice + "optimiser's eps.", (cause,), ("lower-learning-rate", "gradient-clipping")
    if runaway(facts.pulse.loss[facts.pulse.has_loss]) is not None:
        why = never_zeroed(facts) or why_too_large(facts)
        advice = f"The loss had run away until it overflowed. {ADVICE[why[0].cause]}"
        return advice, why, ADVISED[why[0].cause]
    remedies = ("stable-loss", "gradient-clipping", "lower-learning-rate")
    if producer is None:
        return "Run once more with `headwater run --rewind` to see the operation.", (), remedies
    advice = instead(facts, producer) or (
        "look at what that line divides by, or takes the logarithm or root of"
    )
    return f"It comes from {line(producer)}: {advice}.", (), remedies


def _root(facts: Facts) -> list[Where]:
    return [where(facts.sites[flow.root_site]) for flow in facts.flows]


def _producer(facts: Facts, step: int) -> Where | None:
    """Return the operation that received a finite gradient and handed on one that is not."""
    for flow in facts.flows:
        for one in flow.passes:
            if one.step == step:
                row = _first_bad(one)
                if row is not None:
                    return where(facts.sites[one.site[row]])
    return None


def _first_bad(one: Pass) -> int | None:
    bad = np.isnan(one.level)
    above = one.parent
    turned = np.flatnonzero(bad & (above >= 0) & ~bad[above])
    if not len(turned):
        return None
    # The one furthest from the loss would be a follower of another branch; the nearest came first.
    depth = one.over_ancestors(np.ones(len(above)), np.add, 0.0)
    return int(above[turned[np.argmin(depth[turned])]])
