"""HW105: parameters that do not change though they should."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from headwater.records import Cause, Finding, ParameterInfo, Severity, Verdict, Where
from headwater.rules.answers import cannot_say, healthy, wrong
from headwater.rules.detachment import detachments
from headwater.rules.facts import Facts
from headwater.rules.ordering import gone_before_the_step, out_of_order
from headwater.rules.passes import Bools
from headwater.rules.signal import SURE_SHARE, starvation, users
from headwater.rules.wording import count, line, names, percent


@dataclass(frozen=True, kw_only=True)
class UpdateLimits:
    """When a parameter that stands still is a fault."""

    # Ten steps: a GAN's generator or an auxiliary loss may take its first turn after a few.
    least_steps: int = 10
    # Nine of ten updates lost to rounding: what is left is noise, not the step that was asked for.
    lost_share: float = 0.9
    least_samples: int = 4
    # Behind a branch that starts at zero the first float32 gradients are too small as well.
    steps_in_float32: int = 50


LIMITS = UpdateLimits()

_HALF = ("bfloat16", "float16")


class HW105:
    """Frozen parameters.

    What it sees:
        Parameters that require a gradient and never got one though their module ran; parameters
        that get one but that no optimiser holds, while it holds others; all parameters, where the
        gradients are gone again when the optimiser steps; parameters whose updates are nine times
        in ten smaller than the spacing of numbers around their weights. Parameters with
        ``requires_grad`` off are frozen by design, and doubted only if an optimiser holds them
        while the loss stands still. Modules that never ran are told as information.

    Why it hurts:
        The script believes to train what it does not.

    Example:
        ``Adam(model.head.parameters())`` where the whole model was meant; ``h = h.detach()`` left
        over from debugging; pure bfloat16 weights at learning rate 1e-5.

    References:
        Zamirai et al. (2020), Revisiting BFloat16 training, arXiv:2010.06192, for lost updates.
    """

    symptom: ClassVar[str] = "frozen-parameters"
    causes: ClassVar[tuple[str, ...]] = (
        "not-in-optimiser",
        "detached",
        "requires-grad-off",
        "step-before-backward",
        "update-below-precision",
    )

    def judge(self, facts: Facts) -> Verdict:
        """Look at who got a gradient, who is held, and whose updates are lost."""
        if not facts.parameters:
            return cannot_say(self, "no parameters recorded")
        if facts.steps < LIMITS.least_steps:
            return cannot_say(self, f"{facts.steps} steps recorded, {LIMITS.least_steps} needed")
        checks: tuple[Callable[[Facts], Finding | None], ...] = (
            _detached,
            _never_called,
            _not_held,
            _switched_off,
            _gone,
            _lost_updates,
        )
        findings = [found for check in checks if (found := check(facts)) is not None]
        if findings:
            return wrong(self, findings)
        return healthy(self, "all parameters that should change do")


def _dry(facts: Facts, *, called: bool) -> list[ParameterInfo]:
    """Return the parameters that should get a gradient and that none reached.

    Apart those whose module is known to have run from the others.
    """
    return [
        info
        for index, info in enumerate(facts.parameters)
        if info.requires_grad
        and not info.got_gradient
        and index not in facts.reached
        and (info.module_called is True) is called
    ]


def _detached(facts: Facts) -> Finding | None:
    dry = _dry(facts, called=True)
    held = any(info.optimiser is not None for info in dry)
    cuts = detachments(facts) if dry else ()
    found = _finding(
        facts,
        dry,
        cause="detached",
        severity="warning" if held else "info",
        confidence=0.85 if held else 0.5,
        evidence="the module ran and no backward pass reached the parameter",
        message="{names} never got a gradient though {module} ran. " + _look_at(cuts),
        remedies=("remove-detach",),
    )
    if found is None or not cuts:
        return found
    nearest = replace(found.where[-1], file=cuts[0].file, line=cuts[0].line)
    return replace(found, where=(nearest, *cuts[1:], *found.where[:-1]))


def _look_at(cuts: Sequence[Where]) -> str:
    if not cuts:
        return "Look for detach(), .data, no_grad() or an output that the loss does not use."
    lines = " or ".join(line(cut) for cut in cuts[:2])
    return f"It is cut off at {lines}: take the detach() or no_grad() there away."


def _never_called(facts: Facts) -> Finding | None:
    return _finding(
        facts,
        [info for info in _dry(facts, called=False) if info.optimiser is not None],
        cause="detached",
        severity="info",
        confidence=0.5,
        evidence="no sampled graph holds the parameter, nor an operation of its module",
        message="{names} never got a gradient: no loss seen depends on what they make. Remove them "
        "if they are left over, and look for detach() if not.",
        remedies=("remove-module",),
    )


def _not_held(facts: Facts) -> Finding | None:
    if not any(info.optimiser is not None for info in facts.parameters):
        return None
    # Only a module's own: inputs that require a gradient (penalties, attacks) are nobody's.
    lost = [
        info
        for info in facts.parameters
        if info.requires_grad and info.got_gradient and info.optimiser is None and info.module_type
    ]
    one = len(lost) == 1
    found = _finding(
        facts,
        lost,
        cause="not-in-optimiser",
        severity="warning",
        confidence=0.9,
        evidence="a gradient arrives, no optimiser that stepped holds the parameter",
        message=f"{{names}} {'gets' if one else 'get'} a gradient, but no optimiser holds "
        f"{'it' if one else 'them'}. Pass {'it' if one else 'them'} to the optimiser, or set "
        "requires_grad to False and save the work.",
        remedies=("add-to-optimiser", "freeze"),
    )
    return replace(found, where=_where_used(facts, found.where)) if found is not None else None


def _switched_off(facts: Facts) -> Finding | None:
    """Doubt that weights are meant to be frozen: an optimiser holds them, and little is learnt.

    Who freezes on purpose leaves a matrix to learn by (a head, an adapter, a prompt), or learns
    well by biases and norms alone.
    """
    matrices = [info for info in facts.parameters if len(info.shape) > 1]
    off = [info for info in matrices if not info.requires_grad and info.optimiser is not None]
    trend, left = facts.trend, any(info.requires_grad for info in matrices)
    doubtful = trend.stalled or not (left or trend.made_up_for)
    return _finding(
        facts,
        off,
        cause="requires-grad-off",
        severity="warning" if doubtful else "info",
        confidence=0.7 if doubtful else 0.5,
        evidence="requires_grad is off and an optimiser holds the parameter",
        message="An optimiser holds {names}, whose requires_grad is off, so nothing moves them. "
        "Switch it on, or leave them out of the optimiser if they are meant to be frozen.",
        remedies=("requires-grad-on",),
    )


def _gone(facts: Facts) -> Finding | None:
    gone = gone_before_the_step(facts)
    what, line_of_it = out_of_order(facts) if gone else ("", None)
    at = f" ({line(line_of_it)})" if line_of_it is not None else ""
    found = _finding(
        facts,
        [facts.parameters[index] for index in gone],
        cause="step-before-backward",
        severity="error",
        confidence=0.95,
        evidence="a backward pass gave gradients and none was there at the optimiser's step",
        message=f"Nothing is trained, as no gradient is there when the optimiser steps: {what}{at}."
        " Call zero_grad(), backward() and step() in this order.",
        remedies=("order-of-calls",),
    )
    if found is None or line_of_it is None:
        return found
    return replace(found, where=(line_of_it, *found.where))


def _where_used(facts: Facts, places: Sequence[Where]) -> tuple[Where, ...]:
    """Add to parameters the line of the operation that uses each in the newest sample."""
    index = {info.name: number for number, info in enumerate(facts.parameters)}
    used = [
        user
        for flow in facts.flows[:1]
        for user in users(facts, flow.newest, [index[at.parameter] for at in places])
    ]
    known = {at.parameter: at for at in used}
    return tuple(known.get(at.parameter, at) for at in places)


def _lost_updates(facts: Facts) -> Finding | None:
    movement = facts.movement
    lost = np.where(movement.learning_rate > 0, movement.lost_share, np.nan)
    if not len(lost):
        return None
    over = lost > LIMITS.lost_share
    samples = (~np.isnan(lost)).sum(axis=0)
    share = over.sum(axis=0) / np.maximum(samples, 1)
    sure = (samples >= LIMITS.least_samples) & (share >= SURE_SHARE) & over[-1]
    chosen = np.flatnonzero(sure & _may_lose(facts)).tolist()
    if not chosen:
        return None
    infos = [facts.parameters[index] for index in chosen]
    advice, remedies = _against_rounding(infos)
    typical = float(np.median(lost[-1, chosen]))
    dtype = infos[0].dtype
    return _finding(
        facts,
        infos,
        cause="update-below-precision",
        severity="warning",
        confidence=0.9 if infos[0].dtype in _HALF else 0.7,
        evidence=f"{percent(typical)} of the updates change nothing in {dtype}",
        message=f"{{names}} hardly change: {percent(typical)} of their updates are lost to {dtype} "
        f"rounding. {advice}",
        remedies=remedies,
        first_step=int(movement.step[np.argmax(over[:, chosen[0]])]),
        numbers={"lost_share": typical, "lost_share_limit": LIMITS.lost_share},
    )


def _against_rounding(infos: Sequence[ParameterInfo]) -> tuple[str, tuple[str, ...]]:
    if infos[0].dtype in _HALF:
        advice = "Keep float32 copies of the weights, or raise the learning rate."
        return advice, ("float32-weights", "stochastic-rounding")
    return "Raise the learning rate.", ("higher-learning-rate", "adam")


def _may_lose(facts: Facts) -> Bools:
    """Mark the parameters of which lost updates are a fault of their own.

    Of float32 only matrices, once the first steps are over, and only where the gradient does not
    vanish, which is HW101's to say, and no number broke: an update by infinity is none.
    """
    half = np.array([info.dtype in _HALF for info in facts.parameters], dtype=bool)
    vanishes = any(starvation(facts, flow).signal.any() for flow in facts.flowing)
    broke = facts.broken_step is not None
    if vanishes or broke or facts.steps < LIMITS.steps_in_float32:
        return half
    return half | facts.matrices


def _finding(
    facts: Facts,
    infos: Sequence[ParameterInfo],
    *,
    cause: str,
    severity: Severity,
    confidence: float,
    evidence: str,
    message: str,
    remedies: tuple[str, ...],
    first_step: int = 0,
    numbers: dict[str, float] | None = None,
) -> Finding | None:
    if not infos:
        return None
    modules = sorted({info.module for info in infos})
    named = modules[0] if len(modules) == 1 and modules[0] else count(len(modules), "module")
    return Finding(
        code="HW105",
        symptom=HW105.symptom,
        severity=severity,
        confidence=confidence,
        first_step=first_step,
        step=facts.last_step,
        where=tuple(Where(module=info.module, parameter=info.name) for info in infos),
        message=message.format(names=names(infos), module=named),
        causes=(Cause(cause=cause, share=1.0, evidence=evidence),),
        evidence={
            "parameters": len(infos),
            "steps": facts.steps,
            "least_steps": LIMITS.least_steps,
            **(numbers or {}),
        },
        remedies=remedies,
    )
