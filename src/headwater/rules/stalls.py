"""Why a loss stands still: what else is wrong, in the order in which it would explain the stall."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from headwater.records import Cause
from headwater.rules.beginnings import drawn_starved
from headwater.rules.facts import Facts
from headwater.rules.loops import earliest_in_loop, forgets, lost_in_loop, pace
from headwater.rules.outputs import one_unit, output_unit, softmax_twice
from headwater.rules.passes import Flow
from headwater.rules.signal import (
    Starved,
    account,
    cause_of_loss,
    mostly,
    starvation,
)
from headwater.rules.signal import causes as shares_of_loss
from headwater.rules.sizes import never_zeroed, why_too_large
from headwater.rules.symmetry import drawn_alike
from headwater.rules.units import (
    Layer,
    bounded_layers,
    dead_layers,
    layer_place,
    rectified_layers,
    saturated_layers,
    too_many_dead,
)
from headwater.rules.wording import count, percent, place


@dataclass(frozen=True, kw_only=True)
class StallLimits:
    """When something explains a stall.

    Figures of healthy trainings are from the tune half of the corpus, `docs/accuracy.md`.
    """

    # A layer that changes by less than a millionth a step needs a million steps.
    slow_update: float = 1e-6
    # Steps' sizes over the weights', added up: 0.03 and more in healthy trainings, networks
    # trained before included; 0.002 at a ten-thousandth of a good rate.
    no_path: float = 3e-3
    # The same sum of a loss that does not move. One healthy plateau is 0.94 long, of a recurrent
    # network at batches of eight, above chance level; at chance level those of recurrent networks
    # that then learn are 0.6 long.
    path: float = 2.0
    path_at_chance: float = 0.7
    # A fall that is real against its noise and yet under a twentieth, over so many steps.
    crawl: float = 0.05
    crawl_steps: int = 200
    # In a warm-up the newest updates are far larger than the typical one.
    warming: float = 3.0
    # A step that changes a matrix by more than its own size throws away what it was drawn as.
    leap: float = 1.0
    # Half of the updates lost to rounding: then it is the format that stops them.
    lost_share: float = 0.5
    # A loss that was ever this much over its first value was thrown about by its steps.
    thrown: float = 3.0


LIMITS = StallLimits()


def causes_of_stall(facts: Facts) -> tuple[Cause, ...]:
    """Name the other symptoms, each with an equal share, as the loss cannot tell between them."""
    first = _dead_layers(facts) or [*_saturated(facts), *_starved(facts), *_dying(facts)]
    found = (
        one_unit(facts)
        or softmax_twice(facts)
        or output_unit(facts)
        or _alike(facts)
        or [*first, *_slow(facts)]
        or _collapsed(facts)
        or _drawn_starved(facts)
        or _unlearnable(facts)
    )
    return tuple(
        Cause(cause=cause, share=round(1 / len(found), 3), evidence=evidence)
        for cause, evidence in found
    )


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


def _alike(facts: Facts) -> list[tuple[str, str]]:
    alike = [info for info, same in zip(facts.parameters, drawn_alike(facts), strict=True) if same]
    return [
        ("constant-init", f"all units of {info.name} are copies of each other")
        for info in alike[:1]
    ]


def _collapsed(facts: Facts) -> list[tuple[str, str]]:
    kept = never_zeroed(facts)
    if not facts.trend.collapsed and not kept:
        return []
    return [(cause.cause, cause.evidence) for cause in (kept or why_too_large(facts))[:1]]


def _starved(facts: Facts) -> list[tuple[str, str]]:
    for flow in facts.flowing:
        found = starvation(facts, flow)
        number = int(found.signal.sum())
        if number:
            what = count(number, "weight matrix", "weight matrices")
            seen = ("vanishing-gradient", f"under a thousandth of the signal reaches {what}")
            return [seen, *_why_starved(flow, found)]
    for flow in facts.sound:
        if forgets(lost_in_loop(facts, flow)):
            calls = int(flow.newest.calls[earliest_in_loop(flow.newest)])
            slowly = pace(facts, flow.newest)
            what = f"a loop of {calls} steps forgets its first"
            what = what if slowly is None else f"{what} ({slowly.words()})"
            return [("recurrent-contraction", what)]
    return []


def _why_starved(flow: Flow, found: Starved) -> list[tuple[str, str]]:
    """Name what takes most of the signal that is lost, where the newest sample tells it."""
    one, lost = flow.newest, np.where(found.signal, found.lost[-1], -np.inf)
    worst = int(np.argmax(lost))
    parts = account(one, one.owners[worst], sign=-1)
    return [
        (cause.cause, cause.evidence)
        for cause in shares_of_loss(parts, -1, partial(cause_of_loss, one))[:1]
    ]


def crawls(facts: Facts) -> tuple[Cause, ...]:
    """Tell that a loss falls by next to nothing because the weights hardly move."""
    trend = facts.trend
    if trend.state != "fell" or trend.steps < LIMITS.crawl_steps or trend.fall > LIMITS.crawl:
        return ()
    updates = np.nan_to_num(facts.movement.relative_update[:, facts.matrices])
    if not updates.size:
        return ()
    largest = updates.max(axis=1)
    if largest[-1] > LIMITS.warming * np.median(largest):
        return ()
    return tuple(Cause(cause=cause, share=1.0, evidence=why) for cause, why in _slow(facts)[:1])


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
    lost = facts.movement.lost_share[-1, facts.matrices]
    if np.isfinite(lost).any() and np.nanmedian(lost) >= LIMITS.lost_share:
        share = percent(float(np.nanmedian(lost)))
        return [("update-below-precision", f"{share} of the updates are lost to rounding")]
    evidence = f"no layer changes by more than {float(largest[-1, 0]):.0e} of itself a step"
    return [("learning-rate-too-low", evidence)]


def _drawn_starved(facts: Facts) -> list[tuple[str, str]]:
    """Tell why hardly any signal came through the network as it was drawn, if so."""
    if facts.trend.made_up_for:
        return []
    found = [drawn_starved(flow, starvation(facts, flow)) for flow in facts.flowing]
    told = [(cause, drawn.decades) for drawn in found if drawn for cause in drawn.causes[:1]]
    return [(cause.cause, f"as drawn, the network lost {lost:.1f} decades of the gradient")
            for cause, lost in told[:1]]  # fmt: skip


def _unlearnable(facts: Facts) -> list[tuple[str, str]]:
    """Blame the labels where weights moved far at chance level, and nothing else is wrong."""
    updates = facts.movement.relative_update[:, facts.matrices]
    losses = facts.pulse.loss[facts.pulse.has_loss]
    if not updates.size or not np.isfinite(updates).any():
        return []
    trains = [info for info in facts.parameters if info.requires_grad]
    if any(info.optimiser is None or not info.got_gradient for info in trains):
        return []  # HW105 has a better reason
    others = why_too_large(facts)
    if others[0].cause != "learning-rate-too-high":
        return [(others[0].cause, others[0].evidence)]
    largest = float(np.nanmax(updates))
    if largest > LIMITS.leap:
        evidence = f"a step changed weights by {largest:.2g} times their own size"
        return [("learning-rate-too-high", evidence)]
    path = float(np.nanmedian(np.nan_to_num(updates).max(axis=1))) * facts.steps
    at_chance = facts.trend.at_chance or facts.trend.never_left_chance
    short = path < (LIMITS.path_at_chance if at_chance else LIMITS.path)
    if short or np.nanmax(losses) > LIMITS.thrown * losses[0]:
        return []
    evidence = f"the weights moved {path:.1f} times their own size, and nothing came of it"
    return [("labels-independent-of-inputs", evidence)]
