"""HW201 diverging loss and HW202 stalled loss: judged from the loss of every step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from headwater.records import Cause, Finding, Verdict, Where
from headwater.rules.answers import cannot_say, healthy, wrong
from headwater.rules.breaks import by_an_operation
from headwater.rules.curvature import of_curvature
from headwater.rules.facts import Facts
from headwater.rules.outputs import bounded_places, out_of_reach, softmax_places, softmax_twice
from headwater.rules.passes import Floats
from headwater.rules.sizes import ADVICE, never_zeroed, why_too_large
from headwater.rules.sizes import CAUSES as TOO_LARGE
from headwater.rules.sizes import REMEDIES as ADVISED
from headwater.rules.stalled import CAUSES as CAUSES_OF_STALL
from headwater.rules.stalled import (
    advice_on,
    places_of_stall,
    reason_and_advice,
    remedies_of_stall,
)
from headwater.rules.stalls import causes_of_stall, crawls
from headwater.rules.targets import LIMITS as TARGETS
from headwater.rules.targets import Targets
from headwater.rules.trend import LIMITS as TREND
from headwater.rules.trend import first_level, runaway, tenths_of
from headwater.rules.unbounded import why_unbounded
from headwater.rules.wording import unique, where


@dataclass(frozen=True, kw_only=True)
class LossLimits:
    """When a loss that breaks, or stands still, is a fault of its own."""

    # Without another symptom to explain it a flat loss needs longer: two-circles networks that
    # learn stand on a plateau for 320 steps (tanh or ReLU) and up to 1,500 (GELU with Xavier).
    steps_alone: int = 2000


LIMITS = LossLimits()


class HW201:
    """Diverging loss.

    What it sees:
        A loss whose last tenth lies at twice its start or more, and above it by six times its own
        noise; or one that grew tenfold and then stopped being finite. Also one that falls on and on
        below zero, where its graph shows that it has no lower bound (a score that is maximised, a
        sign turned round), or where it falls ever faster and a thousand times as far as its start.

    Why it hurts:
        Each step makes the network worse; what it had learnt before is gone.

    Example:
        Gradient descent on a curvature larger than two over the learning rate multiplies the error
        at every step.

    References:
        LeCun et al. (1998), Efficient BackProp, section 4.6, for the largest stable rate.
    """

    symptom: ClassVar[str] = "diverging-loss"
    causes: ClassVar[tuple[str, ...]] = TOO_LARGE

    def judge(self, facts: Facts) -> Verdict:
        """Look at how the loss ends."""
        if facts.adversarial:
            return cannot_say(self, facts.trend.reason)
        losses = facts.pulse.loss[facts.pulse.has_loss]
        broken, endless = runaway(losses), why_unbounded(facts)
        if endless is not None:
            return wrong(self, [self._downwards(facts, losses, broken, endless)])
        if broken is not None and by_an_operation(facts):
            return healthy(self, "an operation broke the loss (HW301), it did not run away")
        if broken is None and facts.trend.state == "unknown":
            return cannot_say(self, facts.trend.reason)
        if broken is not None or facts.trend.state == "rose":
            return wrong(self, [self._upwards(facts, losses, broken)])
        return healthy(self, "the loss does not run away")

    def _downwards(self, facts: Facts, losses: Floats, broken: int | None, why: Cause) -> Finding:
        usable = losses[np.isfinite(losses)]
        start, end = float(tenths_of(usable)[0]), float(usable[-5:].min())
        first = _first_step(facts, losses, broken, start)
        how = f", and is not finite from step {first} on" if broken is not None else ""
        what = f"has no lower bound, and falls from {start:.2g} to {end:.2g}{how}: {why.evidence}"
        numbers = {"start": start, "end": end}
        return self._finding(facts, what, (why,), broken=broken, first=first, numbers=numbers)

    def _upwards(self, facts: Facts, losses: Floats, broken: int | None) -> Finding:
        usable = losses[np.isfinite(losses)]
        start = first_level(usable) if broken is not None else facts.trend.start
        end = float(np.abs(usable[-5:]).max()) if broken is not None else facts.trend.last
        first = _first_step(facts, losses, broken, start)
        how = f"and is not finite from step {first} on" if broken is not None else "and stays there"
        numbers = {
            "start": start,
            "end": end,
            "rise_limit": TREND.runaway if broken is not None else TREND.rise,
            **({"noise": facts.trend.noise} if broken is None else {}),
        }
        why = never_zeroed(facts) or why_too_large(facts)
        what = f"grows from {start:.2g} to {end:.2g} {how}"
        return self._finding(facts, what, why, broken=broken, first=first, numbers=numbers)

    def _finding(
        self,
        facts: Facts,
        what: str,
        why: tuple[Cause, ...],
        *,
        broken: int | None,
        first: int,
        numbers: dict[str, float],
    ) -> Finding:
        return Finding(
            code="HW201",
            symptom=self.symptom,
            severity="error",
            confidence=0.95 if broken is not None else 0.85,
            first_step=first,
            step=facts.last_step,
            where=_roots(facts),
            message=f"The loss {what}. {ADVICE[why[0].cause]}",
            causes=why,
            evidence={**numbers, **of_curvature(facts.pulse)},
            remedies=ADVISED[why[0].cause],
        )


class HW202:
    """Stalled loss.

    What it sees:
        A loss that neither fell from its start nor from its first tenth, against its own noise, or
        one that dropped to chance level at once and stayed there (the logarithm of the number of
        classes, where the loss function tells it). A slow fall is health; so is a flat end after a
        fall, and a flat loss far below chance, which is a network trained before. Without another
        symptom 2,000 steps are asked for, unless the weights moved by their own size and nothing
        came of it, or hardly moved at all; in that case a fall of under 5 % is told as well. A
        softmax before a loss that takes one itself is told even where the loss falls.

    Why it hurts:
        Nothing is being learnt, and waiting does not help as long as the cause stands.

    Example:
        Two circles, five tanh layers with U[0, 1] weights: the loss falls from 1.15 to 0.693, which
        is ln 2, within 50 steps, and is at 0.686 after 8,000.

    References:
        Glorot and Bengio (2010), Understanding the difficulty of training deep feedforward neural
        networks, section 3.
    """

    symptom: ClassVar[str] = "stalled-loss"
    causes: ClassVar[tuple[str, ...]] = CAUSES_OF_STALL

    def judge(self, facts: Facts) -> Verdict:
        """Look at whether the loss moved, and what else is wrong if it did not."""
        trend = facts.trend
        if trend.state == "unknown":
            return cannot_say(self, trend.reason)
        if trend.state == "unsteady":
            return cannot_say(self, "the loss fell and came back")
        if trend.state == "fell" and (found := self._hindered(facts)) is not None:
            return wrong(self, [found])
        if not trend.stalled:
            before = "is flat, far below chance level: trained before"
            return healthy(self, f"the loss {before if trend.state == 'flat' else trend.state}")
        causes = causes_of_stall(facts)
        if not causes and trend.steps < LIMITS.steps_alone:
            return cannot_say(
                self,
                f"the loss is flat over {trend.steps} steps and nothing else is wrong; "
                f"{LIMITS.steps_alone} are needed",
            )
        return wrong(self, [self._finding(facts, causes)])

    def _hindered(self, facts: Facts) -> Finding | None:
        """Tell of a loss that falls, and not as far or as fast as it could."""
        if softmax_twice(facts):
            return self._slowed(facts)
        if bounded := out_of_reach(facts):
            return self._bounded(facts, *bounded[0])
        crawling = crawls(facts)
        return self._finding(facts, crawling) if crawling else None

    def _finding(self, facts: Facts, causes: tuple[Cause, ...]) -> Finding:
        trend = facts.trend
        level = f"stands at {trend.last:.3g}, having started at {trend.start:.3g}"
        if trend.state == "fell":
            level = f"is at {trend.last:.3g}, having started at {trend.start:.3g}"
        if trend.at_chance:
            level = f"stands at {trend.last:.3g}, which is chance level ({trend.chance:.3g})"
        if trend.collapsed:
            level += f", and had been at {trend.lowest:.3g}"
        evidence: dict[str, float | str] = {
            "start": trend.start,
            "last": trend.last,
            "noise": trend.noise,
            "steps": trend.steps,
            "fall": trend.fall,
            "fall_limit": TREND.late_fall if trend.at_chance else TREND.least_fall,
        }
        if trend.at_chance:
            evidence["chance"] = trend.chance
        return Finding(
            code="HW202",
            symptom=self.symptom,
            severity="error" if causes and trend.state != "fell" else "warning",
            confidence=(0.9 if trend.at_chance else 0.8) if causes else 0.5,
            first_step=int(facts.pulse.step[0]),
            step=facts.last_step,
            where=unique([*places_of_stall(facts, causes), *_roots(facts)]),
            message=f"After {trend.steps} steps the loss {level}{reason_and_advice(causes)}",
            causes=causes,
            evidence=evidence,
            remedies=remedies_of_stall(causes),
        )

    def _slowed(self, facts: Facts) -> Finding:
        """Tell of a softmax too many though the loss falls: it bounds how far it can."""
        # Softmax of numbers between 0 and 1: the best class gets e, the others 1 each.
        classes = max(round(math.exp(facts.chance)), 2) if math.isfinite(facts.chance) else 1
        limits: dict[str, float | str] = {"last_limit": math.log(1 + (classes - 1) / math.e)}
        return self._held_up(facts, *softmax_twice(facts)[0], softmax_places(facts), limits)

    def _bounded(self, facts: Facts, cause: str, evidence: str) -> Finding:
        """Tell of outputs that cannot reach the targets though the loss falls."""
        limits = _of_targets(facts.targets)
        return self._held_up(facts, cause, evidence, bounded_places(facts), limits)

    def _held_up(
        self,
        facts: Facts,
        cause: str,
        evidence: str,
        places: Sequence[Where],
        limits: dict[str, float | str],
    ) -> Finding:
        causes = (Cause(cause=cause, share=1.0, evidence=evidence),)
        return Finding(
            code="HW202",
            symptom=self.symptom,
            severity="warning",
            confidence=0.8,
            first_step=int(facts.pulse.step[0]),
            step=facts.last_step,
            where=unique([*places, *_roots(facts)]),
            message=f"The loss falls, but cannot come near zero: {evidence}. {advice_on(cause)}",
            causes=causes,
            evidence={"start": facts.trend.start, "last": facts.trend.last, **limits},
            remedies=remedies_of_stall(causes),
        )


def _of_targets(targets: Targets | None) -> dict[str, float | str]:
    if targets is None or not math.isfinite(targets.least):
        return {}
    return {
        "target_least": targets.least,
        "target_largest": targets.largest,
        "beyond_limit": TARGETS.beyond,
    }


def _first_step(facts: Facts, losses: Floats, broken: int | None, start: float) -> int:
    """Return where a loss broke, or stayed beyond twice its start from, upwards or downwards."""
    steps = facts.pulse.step[facts.pulse.has_loss]
    if broken is not None:
        return int(steps[broken])
    near = np.flatnonzero(np.abs(losses) <= TREND.rise * abs(start))
    return int(steps[min(int(near[-1]) + 1, len(steps) - 1)]) if len(near) else int(steps[0])


def _roots(facts: Facts) -> tuple[Where, ...]:
    return unique([where(facts.sites[flow.root_site]) for flow in facts.flows])
