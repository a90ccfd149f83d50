"""Why a loss stands still: what else is wrong, in the order in which it would explain the stall."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from headwater.records import Cause, Where
from headwater.rules.facts import Facts
from headwater.rules.passes import Flow
from headwater.rules.signal import (
    Starved,
    account,
    cause_of_loss,
    earliest_in_loop,
    forgets,
    lost_in_loop,
    mostly,
    starvation,
    users,
)
from headwater.rules.signal import causes as shares_of_loss
from headwater.rules.sizes import REMEDIES as ADVISED
from headwater.rules.sizes import never_zeroed, why_too_large
from headwater.rules.units import (
    Layer,
    bounded_layers,
    dead_layers,
    layer_place,
    rectified_layers,
    saturated_layers,
    too_many_dead,
)
from headwater.rules.wording import count, percent, place, where


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
    # network at batches of eight, above chance level; at chance level none is longer than 0.35.
    path: float = 2.0
    path_at_chance: float = 0.45
    # Half of the updates lost to rounding: then it is the format that stops them.
    lost_share: float = 0.5
    # A loss that was ever this much over its first value was thrown about by its steps.
    thrown: float = 3.0
    # Half of an output's examples without a gradient.
    output_flat: float = 0.5


LIMITS = StallLimits()


def causes_of_stall(facts: Facts) -> tuple[Cause, ...]:
    """Name the other symptoms, each with an equal share, as the loss cannot tell between them."""
    first = _dead_layers(facts) or [*_saturated(facts), *_starved(facts), *_dying(facts)]
    found = (
        softmax_twice(facts)
        or _output_unit(facts)
        or [*first, *_slow(facts)]
        or _collapsed(facts)
        or _unlearnable(facts)
    )
    return tuple(
        Cause(cause=cause, share=round(1 / len(found), 3), evidence=evidence)
        for cause, evidence in found
    )


def places_of_stall(facts: Facts, causes: tuple[Cause, ...]) -> list[Where]:
    """Return where the first cause stands, so that a stall points to it and not to the loss."""
    first = causes[0].cause if causes else ""
    if first == "double-softmax":
        return softmax_places(facts)
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
            return [("recurrent-contraction", f"a loop of {calls} steps forgets its first")]
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


def remedies_of_stall(causes: tuple[Cause, ...]) -> tuple[str, ...]:
    """Return what treats these causes, the first cause's remedies first."""
    table: dict[str, tuple[str, ...]] = {
        "saturation": ("xavier-init", "batch-normalisation", "adam"),
        "dead-units": ("he-init", "batch-normalisation", "leaky-relu"),
        "vanishing-gradient": ("he-init", "batch-normalisation", "adam"),
        "recurrent-contraction": ("orthogonal-init", "forget-bias", "gated-cell"),
        "learning-rate-too-high": ("lower-learning-rate", "gradient-clipping"),
        "double-softmax": ("remove-softmax",),
        "learning-rate-too-low": ("higher-learning-rate", "adam"),
        "labels-independent-of-inputs": ("check-labels",),
        "inherent-derivative": ("relu", "he-init", "batch-normalisation"),
        "weight-scale-too-small": ("he-init", "xavier-init", "batch-normalisation"),
        "precision-underflow": ("loss-scaling", "bfloat16"),
        "update-below-precision": ("float32-weights", "stochastic-rounding"),
        "output-range": ("linear-output", "standardise-targets"),
        **ADVISED,
    }
    if not causes:
        return ("higher-learning-rate", "adam")
    return tuple(dict.fromkeys(name for cause in causes for name in table[cause.cause]))
