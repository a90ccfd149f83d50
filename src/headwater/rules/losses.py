"""HW201 diverging loss and HW202 stalled loss: judged from the loss of every step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from headwater.records import Cause, Finding, Verdict, Where
from headwater.rules.answers import cannot_say, healthy, wrong
from headwater.rules.facts import Facts
from headwater.rules.signal import (
    earliest_in_loop,
    forgets,
    lost_in_loop,
    mostly,
    starvation,
    users,
)
from headwater.rules.sizes import ADVICE, never_zeroed, why_too_large
from headwater.rules.sizes import REMEDIES as ADVISED
from headwater.rules.trend import LIMITS as TREND
from headwater.rules.trend import first_level, runaway
from headwater.rules.units import (
    Layer,
    bounded_layers,
    dead_layers,
    layer_place,
    rectified_layers,
    saturated_layers,
    too_many_dead,
)
from headwater.rules.wording import count, percent, place, unique, where


@dataclass(frozen=True, kw_only=True)
class LossLimits:
    """When a loss that breaks, or stands still, is a fault of its own."""

    # Without another symptom to explain it a flat loss needs longer: two-circles networks that
    # learn stand on a plateau for 320 steps (tanh or ReLU) and up to 1,500 (GELU with Xavier).
    steps_alone: int = 2000
    # A layer that changes by less than a millionth a step needs a million steps.
    slow_update: float = 1e-6
    # Steps' sizes over the weights', added up: in the corpus's tune half 0.03 and more in healthy
    # trainings, networks trained before included; 0.002 at a ten-thousandth of a good rate.
    no_path: float = 3e-3
    # The same, without the loss moving. Of the corpus's healthy
    # trainings (tune half) one plateau is that long: 0.94, of a recurrent network at batches of
    # eight, above chance level; at chance level none is longer than 0.35.
    path: float = 2.0
    # A loss that was ever this much over its first value was thrown about by its steps.
    thrown: float = 3.0
    # Half of an output's examples without a gradient.
    output_flat: float = 0.5
    path_at_chance: float = 0.45


LIMITS = LossLimits()


class HW201:
    """Diverging loss.

    What it sees:
        A loss whose last tenth lies at twice its start or more, and above it by six times its own
        noise; or one that grew tenfold and then stopped being finite.

    Why it hurts:
        Each step makes the network worse; what it had learnt before is gone.

    Example:
        Gradient descent on a curvature larger than two over the learning rate multiplies the error
        at every step.

    References:
        LeCun et al. (1998), Efficient BackProp, section 4.6, for the largest stable rate.
    """

    symptom: ClassVar[str] = "diverging-loss"

    def judge(self, facts: Facts) -> Verdict:
        """Look at how the loss ends."""
        if facts.adversarial:
            return cannot_say(self, facts.trend.reason)
        losses = facts.pulse.loss[facts.pulse.has_loss]
        broken = runaway(losses)
        if broken is not None:
            return wrong(self, [self._finding(facts, losses, broken)])
        if facts.trend.state == "unknown":
            return cannot_say(self, facts.trend.reason)
        if facts.trend.state == "rose":
            return wrong(self, [self._finding(facts, losses, None)])
        return healthy(self, "the loss does not run away")

    def _finding(self, facts: Facts, losses: np.typing.NDArray[np.float64],
                 broken: int | None) -> Finding:  # fmt: skip
        steps = facts.pulse.step[facts.pulse.has_loss]
        usable = losses[np.isfinite(losses)]
        start = first_level(usable) if broken is not None else facts.trend.start
        end = float(np.abs(usable[-5:]).max()) if broken is not None else facts.trend.last
        why = never_zeroed(facts) or why_too_large(facts)
        first = int(steps[broken]) if broken is not None else _first_over(losses, steps, start)
        how = f"and is not finite from step {first} on" if broken is not None else "and stays there"
        return Finding(
            code="HW201",
            symptom=self.symptom,
            severity="error",
            confidence=0.95 if broken is not None else 0.85,
            first_step=first,
            step=facts.last_step,
            where=_roots(facts),
            message=f"The loss grows from {start:.2g} to {end:.2g} {how}. {ADVICE[why[0].cause]}",
            causes=why,
            evidence={
                "start": start,
                "end": end,
                "rise_limit": TREND.runaway if broken is not None else TREND.rise,
                **({"noise": facts.trend.noise} if broken is None else {}),
            },
            remedies=ADVISED[why[0].cause],
        )


class HW202:
    """Stalled loss.

    What it sees:
        A loss that neither fell from its start nor from its first tenth, against its own noise, or
        one that dropped to chance level at once and stayed there (the logarithm of the number of
        classes, where the loss function tells it). A slow fall is health; so is a flat end after a
        fall, and a flat loss far below chance, which is a network trained before. Without another
        symptom 2,000 steps are asked for.

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

    def judge(self, facts: Facts) -> Verdict:
        """Look at whether the loss moved, and what else is wrong if it did not."""
        trend = facts.trend
        if trend.state == "unknown":
            return cannot_say(self, trend.reason)
        if trend.state == "fell" and _softmax_twice(facts):
            return wrong(self, [self._slowed(facts)])
        if trend.state == "unsteady":
            return cannot_say(self, "the loss fell and came back")
        if not trend.stalled:
            before = "is flat, far below chance level: trained before"
            return healthy(self, f"the loss {before if trend.state == 'flat' else trend.state}")
        causes = _causes_of_stall(facts)
        if not causes and trend.steps < LIMITS.steps_alone:
            return cannot_say(
                self,
                f"the loss is flat over {trend.steps} steps and nothing else is wrong; "
                f"{LIMITS.steps_alone} are needed",
            )
        return wrong(self, [self._finding(facts, causes)])

    def _finding(self, facts: Facts, causes: tuple[Cause, ...]) -> Finding:
        trend = facts.trend
        level = f"stands at {trend.last:.3g}, having started at {trend.start:.3g}"
        if trend.at_chance:
            level = f"stands at {trend.last:.3g}, which is chance level ({trend.chance:.3g})"
        if trend.collapsed:
            level += f", and had been at {trend.lowest:.3g}"
        why = (
            f"Treat the {causes[0].cause.replace('-', ' ')} first ({causes[0].evidence})."
            if causes
            else "Check that labels match inputs, and try a tenfold larger learning rate."
        )
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
            severity="error" if causes else "warning",
            confidence=(0.9 if trend.at_chance else 0.8) if causes else 0.5,
            first_step=int(facts.pulse.step[0]),
            step=facts.last_step,
            where=unique([*_places_of_stall(facts, causes), *_roots(facts)]),
            message=f"After {trend.steps} steps the loss {level}. {why}",
            causes=causes,
            evidence=evidence,
            remedies=_remedies(causes),
        )

    def _slowed(self, facts: Facts) -> Finding:
        """Tell of a softmax too many though the loss falls: it bounds how far it can."""
        (cause, evidence), *_ = _softmax_twice(facts)
        return Finding(
            code="HW202",
            symptom=self.symptom,
            severity="warning",
            confidence=0.8,
            first_step=int(facts.pulse.step[0]),
            step=facts.last_step,
            where=unique([*_softmax_places(facts), *_roots(facts)]),
            message=f"The loss falls, but cannot come near zero: {evidence}. Remove the first.",
            causes=(Cause(cause=cause, share=1.0, evidence=evidence),),
            evidence={
                "start": facts.trend.start,
                "last": facts.trend.last,
                # Softmax of numbers between 0 and 1: the best class gets e, the others 1 each.
                "last_limit": math.log(1 + (max(round(math.exp(facts.chance)), 2) - 1) / math.e)
                if math.isfinite(facts.chance)
                else 0.0,
            },
            remedies=("remove-softmax",),
        )


def _first_over(losses: np.typing.NDArray[np.float64], steps: np.typing.NDArray[np.int64],
                start: float) -> int:  # fmt: skip
    """Return the first step after which the loss stays over twice its start."""
    below = np.flatnonzero(np.abs(losses) <= TREND.rise * abs(start))
    return int(steps[min(int(below[-1]) + 1, len(steps) - 1)]) if len(below) else int(steps[0])


def _causes_of_stall(facts: Facts) -> tuple[Cause, ...]:
    """Name the other symptoms, each with an equal share, as the loss cannot tell between them."""
    first = _dead_layers(facts) or [*_saturated(facts), *_starved(facts), *_dying(facts)]
    found = (
        _softmax_twice(facts)
        or _output_unit(facts)
        or [*first, *_slow(facts)]
        or _collapsed(facts)
        or _unlearnable(facts)
    )
    return tuple(
        Cause(cause=cause, share=round(1 / len(found), 3), evidence=evidence)
        for cause, evidence in found
    )


def _places_of_stall(facts: Facts, causes: tuple[Cause, ...]) -> list[Where]:
    """Return where the first cause stands, so that a stall points to it and not to the loss."""
    first = causes[0].cause if causes else ""
    if first == "double-softmax":
        return _softmax_places(facts)
    if first == "output-range":
        return [at for at, _ in _flat_outputs(facts)]
    if first == "dead-units":
        layers = rectified_layers(facts)
        return [layer_place(facts, layer) for layer in (dead_layers(layers) or layers)[:1]]
    if first == "saturation":
        layers = saturated_layers(facts, bounded_layers(facts))
        return [layer_place(facts, layer) for layer in layers[:1]]
    if first == "vanishing-gradient":
        return [
            at
            for flow in facts.flowing
            for at in users(
                facts, flow.newest, np.flatnonzero(starvation(facts, flow).signal).tolist()
            )[:1]
        ]
    return []


def _saturated(facts: Facts) -> list[tuple[str, str]]:
    layers = saturated_layers(facts, bounded_layers(facts))
    if not layers:
        return []
    share = percent(float(layers[0].saturated[-1]))
    return [("saturation", f"{share} saturated at {place(layer_place(facts, layers[0]))}")]


def _dead_layers(facts: Facts) -> list[tuple[str, str]]:
    dead = dead_layers(rectified_layers(facts))
    return [_dead_at(facts, dead[0])] if dead else []


def _dying(facts: Facts) -> list[tuple[str, str]]:
    layers = rectified_layers(facts)
    return [_dead_at(facts, layers[0])] if too_many_dead(facts, layers) else []


def _dead_at(facts: Facts, layer: Layer) -> tuple[str, str]:
    return "dead-units", f"dead units at {place(layer_place(facts, layer))}"


def _collapsed(facts: Facts) -> list[tuple[str, str]]:
    kept = never_zeroed(facts)
    if not facts.trend.collapsed and not kept:
        return []
    return [(cause.cause, cause.evidence) for cause in (kept or why_too_large(facts))[:1]]


def _output_unit(facts: Facts) -> list[tuple[str, str]]:
    return [
        ("output-range", f"{share} of the outputs are flat at {place(at)}, next to the loss")
        for at, share in _flat_outputs(facts)[:1]
    ]


def _flat_outputs(facts: Facts) -> list[tuple[Where, str]]:
    """See an activation between the last layer and a squared loss that cannot reach the targets."""
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
            if flat >= LIMITS.output_flat:
                found.append((where(facts.sites[one.site[row]]), percent(flat)))
    return found


def _softmax_twice(facts: Facts) -> list[tuple[str, str]]:
    return [
        ("double-softmax", f"{place(at)} takes the softmax, and the loss another")
        for at in _softmax_places(facts)[:1]
    ]


def _softmax_places(facts: Facts) -> list[Where]:
    """See a softmax between the last layer and a loss that takes the logarithm of another."""
    found = []
    for flow in facts.flows:
        one = flow.newest
        rows = np.flatnonzero(one.weights_above == 0)
        at = {facts.sites[one.site[row]].operation: facts.sites[one.site[row]] for row in rows}
        if "Softmax" in at and "LogSoftmax" in at:
            found.append(where(at["Softmax"]))
    return found


def _starved(facts: Facts) -> list[tuple[str, str]]:
    for flow in facts.flowing:
        number = int(starvation(facts, flow).signal.sum())
        if number:
            what = count(number, "weight matrix", "weight matrices")
            return [("vanishing-gradient", f"under a thousandth of the signal reaches {what}")]
    for flow in facts.sound:
        if forgets(lost_in_loop(facts, flow)):
            calls = int(flow.newest.calls[earliest_in_loop(flow.newest)])
            return [("recurrent-contraction", f"a loop of {calls} steps forgets its first")]
    return []


def _slow(facts: Facts) -> list[tuple[str, str]]:
    """Blame the learning rate where every matrix that trains hardly moves."""
    updates = facts.movement.relative_update[:, facts.matrices]
    known = np.isfinite(updates).any(axis=0)
    if not known.any() or not len(updates):
        return []
    largest = np.nan_to_num(updates[:, known]).max(axis=1, keepdims=True)
    path = float(np.median(largest)) * facts.steps
    if not mostly(largest < LIMITS.slow_update)[0] and path > LIMITS.no_path:
        return []
    if path == 0:
        return []  # nothing moves at all: no rate could help
    evidence = f"no layer changes by more than {float(largest[-1, 0]):.0e} of itself a step"
    return [("learning-rate-too-low", evidence)]


def _unlearnable(facts: Facts) -> list[tuple[str, str]]:
    """Blame the labels where weights moved far at chance level, and nothing else is wrong."""
    updates = facts.movement.relative_update[:, facts.matrices]
    losses = facts.pulse.loss[facts.pulse.has_loss]
    if not updates.size or not np.isfinite(updates).any():
        return []
    trains = [info for info in facts.parameters if info.requires_grad]
    if any(info.optimiser is None or not info.got_gradient for info in trains):
        return []  # HW105 has a better reason
    if np.nanmax(losses) > LIMITS.thrown * losses[0]:
        return []
    typical = float(np.nanmedian(np.nan_to_num(updates).max(axis=1)))
    path = typical * facts.steps
    others = why_too_large(facts)
    if others[0].cause != "learning-rate-too-high":
        return [(others[0].cause, others[0].evidence)]
    if path < (LIMITS.path_at_chance if facts.trend.at_chance else LIMITS.path):
        return []
    evidence = f"the weights moved {path:.1f} times their own size, and nothing came of it"
    return [("labels-independent-of-inputs", evidence)]


def _remedies(causes: tuple[Cause, ...]) -> tuple[str, ...]:
    table: dict[str, tuple[str, ...]] = {
        "saturation": ("xavier-init", "batch-normalisation", "adam"),
        "dead-units": ("he-init", "batch-normalisation", "leaky-relu"),
        "vanishing-gradient": ("he-init", "batch-normalisation", "adam"),
        "recurrent-contraction": ("orthogonal-init", "forget-bias", "gated-cell"),
        "learning-rate-too-high": ("lower-learning-rate", "gradient-clipping"),
        "double-softmax": ("remove-softmax",),
        "learning-rate-too-low": ("higher-learning-rate", "adam"),
        "labels-independent-of-inputs": ("check-labels",),
        "output-range": ("linear-output", "standardise-targets"),
        **ADVISED,
    }
    if not causes:
        return ("higher-learning-rate", "adam")
    return tuple(dict.fromkeys(name for cause in causes for name in table[cause.cause]))


def _roots(facts: Facts) -> tuple[Where, ...]:
    return unique([where(facts.sites[flow.root_site]) for flow in facts.flows])
