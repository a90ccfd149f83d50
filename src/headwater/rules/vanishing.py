"""HW101: the gradient dies on its way to the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from headwater.records import Cause, Finding, Verdict
from headwater.rules.answers import cannot_say, healthy, too_few_samples, wrong
from headwater.rules.beginnings import ADVICE, REMEDIES, cause_namer, from_the_start
from headwater.rules.facts import Facts
from headwater.rules.loops import Pace, earliest_in_loop, forgets, lost_in_loop, pace
from headwater.rules.passes import Floats, Flow, Pass
from headwater.rules.signal import LIMITS as SIGNAL
from headwater.rules.signal import (
    Part,
    Starved,
    account,
    cause_of_loss,
    causes,
    starvation,
    users,
)
from headwater.rules.units import dead_layers, rectified_layers
from headwater.rules.wording import count, line, names, place, where


@dataclass(frozen=True, kw_only=True)
class VanishingLimits:
    """Where a loss of signal becomes a fault."""

    # A starved layer that has moved by 5 % of its norm while the loss fell is slow, not starved.
    moved: float = 0.05


LIMITS = VanishingLimits()


class HW101:
    """Vanishing gradient.

    What it sees:
        The gradient of layers' outputs loses three decades or more between the strongest layer
        nearer to the loss and the starved ones, in most samples and in the newest, by its norm and
        by its root mean square alike; and the starved layers' weights move at a hundredth or less
        of the fastest layer's pace, or get exactly nothing. Both are needed: Adam moves weights
        whatever the size of their gradient, and then a small one does no harm. Branches that
        start at zero by design are left out. Told as well is a signal that was lost like this in
        the first samples, whatever moves: training must make up for it before it can learn, and
        a warning stays until the loss shows that it has. A loop through time is at fault only if
        the loss stands still, as many tasks need no long memory.

    Why it hurts:
        Layers that do not move stay as random as they were drawn, and the layers after them see
        what random layers make of the input.

    Example:
        Twelve layers of ``x = torch.sigmoid(layer(x))``: sigmoid's derivative is at most 1/4, so
        each layer takes about 0.6 decades, 7 in all. ReLU with He initialisation keeps them.

    References:
        Bengio et al. (1994), Learning long-term dependencies with gradient descent is difficult.
        Glorot and Bengio (2010), Understanding the difficulty of training deep feedforward neural
        networks. Pascanu et al. (2013), arXiv:1211.5063, for loops through time.
    """

    symptom: ClassVar[str] = "vanishing-gradient"
    causes: ClassVar[tuple[str, ...]] = tuple(REMEDIES)

    def judge(self, facts: Facts) -> Verdict:
        """Look for matrices that the signal does not reach and that do not move."""
        findings = [found for flow in facts.sound for found in _through_time(facts, flow)]
        if not facts.flowing and not findings:
            return too_few_samples(self, facts)
        excuses = []
        for flow in facts.flowing:
            found = starvation(facts, flow)
            if not _measured(found) and facts.trend.stalled:
                found = Starved(**{**found.__dict__, "still": found.starved})
            if found.faulty.any():
                excuse = _excuse(facts, found) or _dead_end(facts, found)
                if excuse:
                    excuses.append(excuse)
                    findings += from_the_start(facts, found)
                else:
                    findings.append(_finding(facts, found))
            elif found.signal.any() and not _measured(found):
                return cannot_say(self, "the gradient shrinks, but no weight update was recorded")
            else:
                findings += from_the_start(facts, found)
        if findings:
            return wrong(self, findings)
        return healthy(self, "; ".join(excuses) or "no layer is starved of its gradient")


def _measured(found: Starved) -> bool:
    return bool(np.isfinite(found.pace).any() or np.isposinf(found.lost).any())


def _excuse(facts: Facts, found: Starved) -> str:
    """Say why starved layers are no fault: the loss falls, and they move."""
    if facts.trend.state != "fell":
        return ""
    rows = [facts.movement.row(one.step) for one in found.flow.passes]
    updates = facts.movement.relative_update[[row for row in rows if row is not None]]
    typical = np.nanmedian(updates[:, found.faulty], axis=0)
    moved = float((typical * facts.steps).min())
    if not moved >= LIMITS.moved:
        return ""
    slow = names([facts.parameters[index] for index in np.flatnonzero(found.faulty).tolist()])
    return f"{slow} get little of the gradient, but the loss fell and they move"


def _dead_end(facts: Facts, found: Starved) -> str:
    """Say so where the gradient ends in a wholly dead layer: one fault, and HW103 tells it."""
    zero = np.isposinf(found.lost[-1, found.faulty]).all()
    dead = dead_layers(rectified_layers(facts))
    return "the gradient ends in dead units (HW103)" if zero and dead else ""


def _finding(facts: Facts, found: Starved) -> Finding:
    faulty = np.flatnonzero(found.faulty).tolist()
    worst = faulty[int(np.argmax(found.lost[-1, faulty]))]
    # A gradient that has become exactly zero by now tells no causes; the sample before it does.
    telling = np.flatnonzero(found.starved[:, worst] & np.isfinite(found.lost[:, worst]))
    at = int(telling[-1]) if len(telling) else len(found.lost) - 1
    one, lost = found.flow.passes[at], found.lost[at, faulty]
    parts = account(one, one.owners[worst], sign=-1)
    why = causes(parts, -1, cause_namer(one, parts, cause_of_loss))
    pace = found.pace[-1, faulty]
    typical = float(np.nanmedian(pace)) if np.isfinite(pace).any() else 0.0
    way = _way(facts, one, worst, float(found.lost[at, worst])) + _culprit(facts, one, parts)
    return Finding(
        code="HW101",
        symptom=HW101.symptom,
        severity="error" if facts.trend.stalled else "warning",
        confidence=_confidence(facts, why),
        first_step=found.flow.passes[int(np.argmax((found.starved & found.still)[:, worst]))].step,
        step=found.flow.newest.step,
        where=users(facts, found.flow.newest, faulty),
        message=f"{way}. {_movement(facts, faulty, typical)}: {_advice(why)}.",
        causes=why,
        evidence={
            **_finite(lost),
            "lost_decades_limit": SIGNAL.lost_decades,
            "exactly_zero": int(np.isposinf(found.lost[-1, faulty]).sum()),
            "starved_parameters": len(faulty),
            "pace": typical,
            "pace_limit": SIGNAL.pace,
        },
        remedies=REMEDIES[why[0].cause] if why else ("he-init", "batch-normalisation"),
    )


def _finite(lost: Floats) -> dict[str, float]:
    known = lost[np.isfinite(lost)]
    return {"lost_decades": float(known.max())} if len(known) else {}


def _confidence(facts: Facts, why: Sequence[Cause]) -> float:
    if facts.trend.stalled:
        return 0.95 if why else 0.85
    return 0.6 if facts.trend.state == "unknown" else 0.7


def _way(facts: Facts, one: Pass, parameter: int, lost: float) -> str:
    at = place(where(facts.sites[one.site[one.owners[parameter]]]))
    if np.isinf(lost):
        return f"The gradient is exactly zero at {at}"
    return f"The gradient loses {lost:.1f} decades on its way to {at}"


def _movement(facts: Facts, faulty: Sequence[int], pace: float) -> str:
    starved = names([facts.parameters[index] for index in faulty])
    one = len(faulty) == 1
    if not pace:
        return f"{starved} {'does' if one else 'do'} not move"
    return f"{starved} {'moves' if one else 'move'} at {pace:.0e} of the fastest layer's pace"


def _culprit(facts: Facts, one: Pass, parts: Sequence[Part]) -> str:
    """Name the operation that takes most: ", 7.0 of them in 12 sigmoid calls (train.py:31)"."""
    taken: dict[str, list[Part]] = {}
    for part in parts:
        if part.decades < 0:
            taken.setdefault(facts.sites[one.site[part.row]].operation, []).append(part)
    if not taken:
        return ""
    operation, most = min(taken.items(), key=lambda item: sum(part.decades for part in item[1]))
    decades = -sum(part.decades for part in most)
    at = line(where(facts.sites[one.site[most[0].row]]))
    what = f"{count(len(most), operation.lower() + ' call')} ({at})"
    return f", by {what}" if np.isinf(decades) else f", {decades:.1f} of them in {what}"


def _advice(why: Sequence[Cause]) -> str:
    return ADVICE[why[0].cause] if why else "see where with `headwater show`"


def _through_time(facts: Facts, flow: Flow) -> list[Finding]:
    """Judge a loop through time: whether the signal reaches its earliest calls."""
    lost = lost_in_loop(facts, flow)
    if not forgets(lost):
        return []
    one = flow.newest
    row = earliest_in_loop(one)
    at = where(facts.sites[one.site[row]])
    decades = float(lost[-1])
    calls = int(one.calls[row])
    how = "to exactly zero" if np.isinf(decades) else f"by {decades:.1f} decades"
    slowly = pace(facts, one)
    evidence = f"{calls} calls of one line, level falls {how}"
    return [
        Finding(
            code="HW101",
            symptom=HW101.symptom,
            severity="warning",
            confidence=0.7,
            first_step=flow.passes[int(np.argmax(lost >= SIGNAL.lost_decades))].step,
            step=one.step,
            where=(at,),
            message=f"The gradient shrinks {how} over {calls} steps of the loop at {place(at)}"
            f"{'' if slowly is None else f', to {slowly.factor:.2g} of itself at each'}, and the "
            f"loss stands still. What came early cannot be learnt: {_unforgetting(slowly)}",
            causes=(
                Cause(
                    cause=_FORGETS,
                    share=1.0,
                    evidence=evidence if slowly is None else f"{evidence}, {slowly.words()}",
                ),
            ),
            evidence={
                **_finite(lost[-1:]),
                "lost_decades_limit": SIGNAL.lost_decades,
                "calls": calls,
                **({} if slowly is None else slowly.numbers()),
                "steps": facts.trend.steps,
                "steps_limit": SIGNAL.steps_of_loop,
            },
            remedies=_KEEPING if slowly and slowly.weights_share < _WEIGHTS else REMEDIES[_FORGETS],
        )
    ]


_FORGETS = "recurrent-contraction"
_KEEPING = ("gated-cell", "forget-bias")
_WEIGHTS = 0.5
"""Share of the loss from which on weights, and not the activation, are what takes the signal."""


def _unforgetting(slowly: Pace | None) -> str:
    """Say what to do, and why, where it is known whether weights or activation take the signal."""
    cell = "use a gated cell that starts with its gates open"
    if slowly is None or not slowly.weights_share >= 0.0:
        return f"draw orthogonal recurrent weights, or {cell}."
    radius = f"the recurrent weights' spectral radius is {slowly.radius:.2g}"
    if slowly.weights_share >= _WEIGHTS:
        return f"{radius}, so draw them orthogonal, or {cell}."
    return f"{radius}, so that the activation takes most of it; {cell}."
