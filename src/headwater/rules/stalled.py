"""What a stalled loss points to, and what treats it: by the first of its causes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from headwater.records import Cause, Where
from headwater.rules.beginnings import ADVICE as OF_BEGINNINGS
from headwater.rules.beginnings import REMEDIES as BY_BEGINNINGS
from headwater.rules.beginnings import drawn_starved
from headwater.rules.facts import Facts
from headwater.rules.loops import earliest_in_loop, forgets, lost_in_loop
from headwater.rules.outputs import bounded_places, flat_outputs, softmax_over_one, softmax_places
from headwater.rules.signal import starvation, users
from headwater.rules.sizes import ADVICE as ADVICE_ON_SIZES
from headwater.rules.sizes import REMEDIES as ADVISED
from headwater.rules.symmetry import drawn_alike
from headwater.rules.units import (
    bounded_layers,
    dead_layers,
    layer_place,
    rectified_layers,
    saturated_layers,
)
from headwater.rules.wording import where

_REMEDIES: Mapping[str, tuple[str, ...]] = {
    **BY_BEGINNINGS,
    "saturation": ("xavier-init", "batch-normalisation", "adam"),
    "dead-units": ("he-init", "batch-normalisation", "leaky-relu"),
    "vanishing-gradient": ("he-init", "batch-normalisation", "adam"),
    "double-softmax": ("remove-softmax",),
    "softmax-over-one": ("sigmoid-output",),
    "learning-rate-too-low": ("higher-learning-rate", "adam"),
    "labels-independent-of-inputs": ("check-labels",),
    "update-below-precision": ("float32-weights", "stochastic-rounding"),
    "output-range": ("linear-output", "standardise-targets"),
    "constant-init": ("he-init", "xavier-init"),
    **ADVISED,
}

CAUSES = tuple(_REMEDIES)
"""What a stall can be put down to."""

_ADVICE: Mapping[str, str] = {
    **{cause: f"{words[0].upper()}{words[1:]}." for cause, words in OF_BEGINNINGS.items()},
    "saturation": "Shrink the weights (Xavier initialisation) or the inputs.",
    "dead-units": "Revive them first: He initialisation, zero biases, a lower rate.",
    "vanishing-gradient": "Let the signal through first: He initialisation, normalisation.",
    "recurrent-contraction": "Use orthogonal recurrent weights or a gated cell.",
    "double-softmax": "Remove the first softmax.",
    "softmax-over-one": "Use a sigmoid (binary_cross_entropy_with_logits), or one unit a class.",
    "learning-rate-too-low": "Raise the learning rate a hundredfold, then lower it again.",
    "labels-independent-of-inputs": "Check that labels belong to their inputs.",
    "update-below-precision": "Keep the weights in float32.",
    "output-range": "Take the activation after the last layer away, or standardise the targets.",
    "constant-init": "Draw the weights at random (He or Xavier initialisation).",
    **ADVICE_ON_SIZES,
}


def remedies_of_stall(causes: Sequence[Cause]) -> tuple[str, ...]:
    """Return what treats these causes, the first cause's remedies first."""
    if not causes:
        return ("higher-learning-rate", "adam")
    return tuple(dict.fromkeys(name for cause in causes for name in _REMEDIES[cause.cause]))


def reason_and_advice(causes: Sequence[Cause]) -> str:
    """Return what else is wrong and what to do about it, to follow what the loss does."""
    if not causes:
        return ". Check that labels match inputs, and try a tenfold larger learning rate."
    return f": {causes[0].evidence}. {_ADVICE[causes[0].cause]}"


def advice_on(cause: str) -> str:
    """Return what to do about a cause, as a sentence."""
    return _ADVICE[cause]


def places_of_stall(facts: Facts, causes: Sequence[Cause]) -> list[Where]:
    """Return where the first cause stands, so that a stall points to it and not to the loss."""
    find = _PLACES.get(causes[0].cause) if causes else None
    return find(facts) if find else []


def _of_dead_units(facts: Facts) -> list[Where]:
    layers = rectified_layers(facts)
    return [layer_place(facts, layer) for layer in (dead_layers(layers) or layers)[:1]]


def _of_saturation(facts: Facts) -> list[Where]:
    layers = saturated_layers(facts, bounded_layers(facts))
    return [layer_place(facts, layer) for layer in layers[:1]]


def _of_copies(facts: Facts) -> list[Where]:
    alike = np.flatnonzero(drawn_alike(facts)).tolist()
    return [at for flow in facts.flows[-1:] for at in users(facts, flow.newest, alike)]


def _of_starved(facts: Facts) -> list[Where]:
    found: list[Where] = []
    for flow in facts.flowing:
        starved = np.flatnonzero(starvation(facts, flow).signal).tolist()
        found += users(facts, flow.newest, starved)[:1]
    return found


def _of_drawn(facts: Facts) -> list[Where]:
    """Return where matrices stand that the network as it was drawn starves."""
    found: list[Where] = []
    for flow in facts.flowing:
        drawn = drawn_starved(flow, starvation(facts, flow))
        found += users(facts, flow.passes[0], drawn.starved)[:1] if drawn else []
    return found


def _of_loops(facts: Facts) -> list[Where]:
    """Return where loops stand that forget, or else what they starved from the start."""
    looped = [flow for flow in facts.sound if forgets(lost_in_loop(facts, flow))]
    rows = [(flow.newest, earliest_in_loop(flow.newest)) for flow in looped]
    return [where(facts.sites[one.site[row]]) for one, row in rows] or _of_drawn(facts)


_PLACES: Mapping[str, Callable[[Facts], list[Where]]] = {
    **dict.fromkeys(BY_BEGINNINGS, _of_drawn),
    "recurrent-contraction": _of_loops,
    "double-softmax": softmax_places,
    "softmax-over-one": softmax_over_one,
    "output-range": lambda facts: [*(at for at, _ in flat_outputs(facts)), *bounded_places(facts)],
    "dead-units": _of_dead_units,
    "saturation": _of_saturation,
    "constant-init": _of_copies,
    "vanishing-gradient": _of_starved,
}
