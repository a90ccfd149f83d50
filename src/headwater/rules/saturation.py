"""HW103 dead units and HW104 saturated units: activations that pass nothing on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from headwater.records import Cause, Finding, Verdict
from headwater.rules.answers import cannot_say, healthy, too_few_samples, wrong
from headwater.rules.beginnings import drawn_starved
from headwater.rules.facts import Facts
from headwater.rules.signal import starvation
from headwater.rules.sizes import ADVICE as OF_SIZES
from headwater.rules.sizes import CAUSES as TOO_LARGE
from headwater.rules.sizes import LIMITS as SIZES
from headwater.rules.sizes import REMEDIES as BY_SIZES
from headwater.rules.sizes import (
    input_size,
    never_zeroed,
    oversized_weights,
    weight_gain,
    why_too_large,
)
from headwater.rules.units import LIMITS as UNITS
from headwater.rules.units import (
    Layer,
    bounded_layers,
    dead_layers,
    feeding,
    layer_place,
    meant_to_shut,
    pooled_dead,
    rectified_layers,
    saturated_layers,
    saturation_limit,
    too_many_dead,
    wilson_low,
)
from headwater.rules.wording import count, percent, place, unique


@dataclass(frozen=True, kw_only=True)
class SaturationLimits:
    """What tells one cause of dead or saturated units from another."""

    # Died or saturated in training, if less than half of it was so in the first sample.
    from_the_start: float = 0.5
    # Torch draws biases within 1/sqrt(fan-in) and most recipes set them to zero.
    large_bias: float = 0.5
    # Inputs of mean square 9 are three times as large as standardised ones.
    large_input: float = 9.0
    # Pre-activations of twice the mean square that zero-mean weights of this size can produce
    # from inputs of at most 1: the weights pull the same way. U[0, 1] weights give 3.7.
    aligned: float = 2.0


LIMITS = SaturationLimits()

_REMEDIES: dict[str, tuple[str, ...]] = {
    **BY_SIZES,
    "input-shift": ("standardise-inputs", "batch-normalisation"),
    "negative-bias": ("zero-bias", "batch-normalisation", "leaky-relu"),
    "weight-init": ("he-init", "batch-normalisation", "leaky-relu"),
    "learning-rate-too-high": ("lower-learning-rate", "batch-normalisation", "leaky-relu"),
    "saturation-in-training": ("lower-learning-rate", "batch-normalisation"),
    "non-zero-mean-init": ("xavier-init", "batch-normalisation", "relu"),
    "weight-scale-too-large": ("xavier-init", "batch-normalisation", "relu"),
    "weight-scale-too-small": ("he-init", "batch-normalisation", "leaky-relu"),
    "unscaled-inputs": ("standardise-inputs", "batch-normalisation", "xavier-init"),
    "": ("xavier-init", "batch-normalisation", "relu"),
}


class HW103:
    """Dead units.

    What it sees:
        Hidden ReLU units whose derivative was zero for every entry of each of the last three
        samples. A whole layer of them is always a fault; a part of all units only if its share
        is too high beyond doubt (lower end of Wilson's interval, as layers may have five units)
        and the loss does not fall: every sixth unit of a healthy narrow network is dead.

    Why it hurts:
        A dead unit gets no gradient and so cannot come back. Behind a dead layer nothing learns.

    Example:
        Two circles with five layers of five ReLU units and biases of -1: 84 % of the units are
        dead before the first step, and no such network learns.

    References:
        Lu et al. (2019), Dying ReLU and initialization, arXiv:1903.06733. Maas et al. (2013),
        Rectifier nonlinearities improve neural network acoustic models.
    """

    symptom: ClassVar[str] = "dead-units"
    causes: ClassVar[tuple[str, ...]] = (
        "weight-init", "negative-bias", "input-shift", "weight-scale-too-small", *TOO_LARGE
    )  # fmt: skip

    def judge(self, facts: Facts) -> Verdict:
        """Look for dead layers, then at the share over all layers."""
        if not facts.flowing:
            return too_few_samples(self, facts)
        layers = rectified_layers(facts)
        if not layers:
            return healthy(self, "no hidden rectifiers")
        if all(np.isnan(layer.dead_recent[-1]) for layer in layers):
            return cannot_say(self, "units were not counted in three samples")
        whole = dead_layers(layers)
        share, units = pooled_dead(layers)
        if whole:
            return wrong(self, [self._finding(facts, layers, whole)])
        if too_many_dead(facts, layers):
            worst = sorted(layers, key=lambda layer: -np.nan_to_num(layer.dead_recent[-1]))
            some = [layer for layer in worst if layer.dead_recent[-1] >= share]
            return wrong(self, [self._finding(facts, layers, some)])
        return healthy(self, f"{percent(share)} of {count(int(units), 'unit')} dead")

    def _finding(self, facts: Facts, layers: Sequence[Layer], worst: Sequence[Layer]) -> Finding:
        share, units = pooled_dead(layers)
        cause = _cause_of_death(facts, layers)
        places = unique([layer_place(facts, layer) for layer in worst])
        whole = dead_layers(worst)
        first, more = place(places[0]), len(places) - 1
        others = f" and {count(more, 'more place')}" if more else ""
        what = (
            f"Every unit at {first}{others} is dead, so no gradient gets past"
            if whole
            else f"{percent(share)} of the {units:.0f} ReLU units are dead, most at {first}{others}"
        )
        return Finding(
            code="HW103",
            symptom=self.symptom,
            severity="error" if whole else "warning",
            confidence=0.95 if whole else 0.7,
            first_step=_since(worst[0], worst[0].dead, 0.5),
            step=worst[0].flow.newest.step,
            where=places,
            message=f"{what}. {_ADVICE[cause.cause]}",
            causes=(cause,),
            evidence={
                "dead_share": share,
                "dead_share_low": wilson_low(share, units),
                "dead_share_limit": UNITS.dead if facts.trend.stalled else UNITS.dead_unknown,
                "units": units,
                "dead_layers": len(whole),
            },
            remedies=_REMEDIES[cause.cause],
        )


_ADVICE = {
    **OF_SIZES,
    "input-shift": "Standardise the inputs: they lie far from zero, all on one side.",
    "negative-bias": "Set the biases to zero, or normalise before the activation.",
    "weight-init": "Draw the weights around zero (He initialisation), or use a leaky ReLU.",
    "learning-rate-too-high": "They died in training: lower the learning rate.",
    "saturation-in-training": "It came in training: lower the learning rate.",
    "non-zero-mean-init": "Draw the weights around zero (Xavier initialisation).",
    "weight-scale-too-large": "Draw smaller weights (Xavier initialisation).",
    "weight-scale-too-small": "Draw larger weights (He initialisation).",
    "unscaled-inputs": "Standardise the inputs.",
    "": "Draw smaller weights (Xavier initialisation), or normalise before the activation.",
}


class HW104:
    """Saturated units.

    What it sees:
        Hidden sigmoid, tanh and the like whose derivative is under 5 % of its largest for three
        entries in ten or more, in most samples and in the newest, while the loss does not fall.
        Where the loss does not tell, eight in ten are asked for, where it falls nine, or five if
        weights were drawn too large and the loss is not far below its start; of gates (GRU, LSTM,
        squeeze-and-excitation), which open and close by design, nineteen in twenty and a loss that
        does not fall. The activation next to the loss is left out: a good classifier
        saturates it.

    Why it hurts:
        Where an activation is flat it passes no gradient, and outputs of plus or minus one keep
        the layers after it saturated too.

    Example:
        Two circles, five layers of five tanh units, weights U[0, 1]: the weights' positive mean
        makes all units agree, and half of the last layer is flat before the first step.

    References:
        Glorot and Bengio (2010), Understanding the difficulty of training deep feedforward
        neural networks. LeCun et al. (1998), Efficient BackProp, section 4.
    """

    symptom: ClassVar[str] = "saturated-units"
    causes: ClassVar[tuple[str, ...]] = ("non-zero-mean-init", *TOO_LARGE)

    def judge(self, facts: Facts) -> Verdict:
        """Look for saturated hidden layers of a network whose loss does not fall."""
        if not facts.flowing:
            return too_few_samples(self, facts)
        layers = bounded_layers(facts)
        if not layers:
            return healthy(self, "no hidden activation that saturates")
        if all(np.isnan(layer.saturated).all() for layer in layers):
            return cannot_say(self, "saturation was not measured")
        highest = max(float(np.nan_to_num(layer.saturated[-1])) for layer in layers)
        found = saturated_layers(facts, layers)
        if facts.trend.state == "fell":
            # Gates of a network that learns are shut for a reason.
            found = tuple(layer for layer in found if not meant_to_shut(facts, layer))
        if not found:
            return healthy(self, f"at most {percent(highest)} of a layer is saturated")
        return wrong(self, [self._finding(facts, layers, found)])

    def _finding(self, facts: Facts, layers: Sequence[Layer], found: Sequence[Layer]) -> Finding:
        cause = _cause_of_saturation(facts, layers, found[0])
        limit = saturation_limit(facts)
        numbers = {
            f"saturated at {place(layer_place(facts, layer))}": float(layer.saturated[-1])
            for layer in reversed(found)
        }
        stalled = facts.trend.stalled
        since = _since(found[0], found[0].saturated, limit)
        return Finding(
            code="HW104",
            symptom=self.symptom,
            severity="error" if stalled else "warning",
            confidence=0.9 if stalled else 0.6,
            first_step=since,
            step=found[0].flow.newest.step,
            where=unique([layer_place(facts, layer) for layer in found]),
            message=_saturated_message(facts, found, since, cause),
            causes=(cause,) if cause else (),
            evidence={**numbers, "saturated_limit": limit},
            remedies=_REMEDIES[_remedy_key(cause)],
        )


def _remedy_key(cause: Cause | None) -> str:
    if cause is None:
        return ""
    in_training = cause.cause == "learning-rate-too-high"
    return "saturation-in-training" if in_training else cause.cause


def _saturated_message(
    facts: Facts, found: Sequence[Layer], since: int, cause: Cause | None
) -> str:
    worst = found[0]
    name = facts.sites[worst.site].operation.lower()
    when = "from the start" if since == worst.flow.passes[0].step else f"since step {since}"
    shares = [percent(float(layer.saturated[-1])) for layer in found]
    where_else = ""
    if len(found) == 2:
        where_else = f" and {shares[1]} at {place(layer_place(facts, found[1]))}"
    elif len(found) > 2:
        where_else = f" and {shares[-1]} or more in {len(found) - 1} other layers"
    still = ", while the loss stands still" if facts.trend.stalled else ""
    return (
        f"{name} is flat for {shares[0]} of its inputs at {place(layer_place(facts, worst))}"
        f"{where_else}, {when}{still}. {_ADVICE[_remedy_key(cause)]}"
    )


def _since(layer: Layer, values: np.typing.NDArray[np.float64], limit: float) -> int:
    """Return the first sampled step from which the values stay at or over the limit."""
    below = np.flatnonzero(~(values >= limit) & ~np.isnan(values))
    start = 0 if not len(below) else min(int(below[-1]) + 1, len(values) - 1)
    return layer.flow.passes[start].step


def _in_training(facts: Facts, evidence: str) -> Cause:
    """Tell why steps were so large that they killed or saturated what had been sound."""
    worst = (never_zeroed(facts) or why_too_large(facts))[0]
    return replace(worst, evidence=f"{evidence}; {worst.evidence}")


def _cause_of_death(facts: Facts, layers: Sequence[Layer]) -> Cause:
    units = sum(layer.units for layer in layers if layer.units > 0)
    first = sum(layer.units * float(np.nan_to_num(layer.dead[0])) for layer in layers) / units
    now, _ = pooled_dead(layers)
    if first < LIMITS.from_the_start * now:
        evidence = f"{percent(first)} dead in the first sample, {percent(now)} now"
        drawn = [drawn_starved(flow, starvation(facts, flow)) for flow in facts.flowing]
        for cause in (cause for one in drawn if one for cause in one.causes):
            if cause.cause == "weight-scale-too-small":  # it is small steps' turn to be blamed
                return replace(cause, share=0.7, evidence=f"{evidence}; {cause.evidence} as drawn")
        return _in_training(facts, evidence)
    sizes = [
        float(facts.movement.weight_norm[0, index]) / np.sqrt(facts.parameters[index].elements)
        for layer in layers
        for index in feeding(facts, layer)[1]
        if len(facts.movement.weight_norm)
    ]
    largest = max(sizes, default=0.0)
    if largest >= LIMITS.large_bias:
        evidence = f"biases of size {largest:.2g}, dead from the first sample on"
        return Cause(cause="negative-bias", share=0.8, evidence=evidence)
    inputs = input_size(facts)
    if inputs >= SIZES.inputs:  # on one side of zero, as inputs around it kill no unit
        evidence = f"inputs of size {inputs:.2g}, {percent(first)} dead in the first sample"
        return Cause(cause="input-shift", share=0.7, evidence=evidence)
    evidence = f"{percent(first)} dead in the first sample, with small biases"
    return Cause(cause="weight-init", share=0.7, evidence=evidence)


def _cause_of_saturation(facts: Facts, layers: Sequence[Layer], worst: Layer) -> Cause | None:
    """Tell the cause from the first sample: what zero-mean weights could do against what is."""
    if worst.saturated[0] < LIMITS.from_the_start * worst.saturated[-1]:
        evidence = (
            f"{percent(float(worst.saturated[0]))} saturated in the first sample, "
            f"{percent(float(worst.saturated[-1]))} now"
        )
        return _in_training(facts, evidence)
    matrices, _ = feeding(facts, worst)
    drawn = set(matrices) & set(oversized_weights(facts))
    if worst.loops and drawn:
        evidence = f"weights of the loop multiply the mean square by up to {weight_gain(facts):.3g}"
        return Cause(cause="recurrent-expansion", share=0.8, evidence=evidence)
    return _of_sizes(facts, layers, worst, matrices) if len(matrices) == 1 else None


def _of_sizes(
    facts: Facts, layers: Sequence[Layer], worst: Layer, matrices: Sequence[int]
) -> Cause | None:
    square = float(worst.mean[0] ** 2 + worst.variance[0])
    if not len(facts.movement.weight_norm) or not np.isfinite(square):
        return None
    norm = float(facts.movement.weight_norm[0, matrices[0]])
    gain = norm**2 / facts.parameters[matrices[0]].shape[0]
    if not gain > 0:
        return None
    ratio = square / gain
    deepest = max(layer.weights_above for layer in layers)
    if worst.weights_above == deepest and ratio >= LIMITS.large_input:
        evidence = f"the inputs' mean square is about {ratio:.0f}"
        return Cause(cause="unscaled-inputs", share=0.8, evidence=evidence)
    if worst.weights_above < deepest and ratio >= LIMITS.aligned:
        evidence = (
            f"pre-activations have {ratio:.1f} times the mean square that zero-mean weights "
            "of this size can give"
        )
        return Cause(cause="non-zero-mean-init", share=0.8, evidence=evidence)
    evidence = f"weights of this size multiply the mean square by up to {gain:.1f}"
    return Cause(cause="weight-scale-too-large", share=0.6, evidence=evidence)
