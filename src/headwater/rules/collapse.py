"""HW107: different inputs that have become one direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from headwater.records import Cause, Finding, Verdict, Where
from headwater.rules.answers import cannot_say, healthy, wrong
from headwater.rules.facts import Facts
from headwater.rules.passes import Flow
from headwater.rules.units import Layer, feeding, hidden_layers, layer_place, mostly_over
from headwater.rules.wording import count, percent, place, unique, where


@dataclass(frozen=True, kw_only=True)
class CollapseLimits:
    """When what is left of the inputs is too little."""

    # The fifth layer of the two-circles net has 0.999 (median of 40 seeds, U[0, 1] weights) of
    # its variance in one direction and does not learn; with Xavier 0.91, at most 0.987, and learns.
    share: float = 0.99
    least_layers: int = 2
    # As saturation's: zero-mean weights of this size cannot give twice the mean square.
    aligned: float = 2.0
    # Critical networks of ten layers still tell inputs apart; what is lost over more is depth's.
    deep: int = 10
    # Scores of unit variance make no row of eight entries one-hot; at thirty times that nine in
    # ten are. Three samples, as everywhere.
    one_hot: float = 0.9
    first_samples: int = 3


LIMITS = CollapseLimits()


class HW107:
    """Collapsed signal.

    What it sees:
        A hidden layer next to the loss in which, from the first sample on, 99 % of the variance
        between examples lies in one direction, while the loss stands still. A network that learns
        may end there, as a classifier of two classes does, and is left alone. Also attention that
        gives all its weight to one token from the first samples on, until the loss has left its
        start.

    Why it hurts:
        Layers behind see one number per example: what tells the inputs apart is gone before it
        arrives, and no gradient brings it back.

    Example:
        Five tanh layers with U[0, 1] weights: every unit adds up the same sum, and 0.91 to 0.9999
        of the variance lies in one direction, layer by layer.

    References:
        Poole et al. (2016), Exponential expressivity in deep neural networks through transient
        chaos, arXiv:1606.05340, for the ordered phase; Dong et al. (2021), arXiv:2103.03404, for
        attention's loss of rank; Zhai et al. (2023), arXiv:2303.06296, for its loss of entropy.
    """

    symptom: ClassVar[str] = "collapsed-signal"
    causes: ClassVar[tuple[str, ...]] = (
        "non-zero-mean-init",
        "ordered-phase",
        "depth-beyond-trainable",
        "attention-collapse",
    )

    def judge(self, facts: Facts) -> Verdict:
        """Look at the share of variance in one direction, layer by layer."""
        if facts.trend.state != "unknown" and not facts.trend.made_up_for:
            sure = [one for flow in facts.flowing for one in sure_attention(facts, flow)]
            if sure:
                return wrong(self, [_of_attention(facts, sure)])
        layers = [
            layer
            for layer in hidden_layers(facts)
            if not layer.gate and not np.isnan(layer.first_direction).all()
        ]
        if len(layers) < LIMITS.least_layers:
            return cannot_say(self, "fewer than two hidden layers whose examples can be compared")
        if facts.trend.state == "unknown":
            return cannot_say(self, facts.trend.reason)
        if not facts.trend.stalled:
            return healthy(self, f"the loss {facts.trend.state}")
        found = [one for one in layers if mostly_over(one.first_direction, LIMITS.share)]
        if layers[0] not in found or not layers[0].first_direction[0] >= LIMITS.share:
            return healthy(self, "the last hidden layer still tells the examples apart")
        return wrong(self, [self._finding(facts, layers, found)])

    def _finding(self, facts: Facts, layers: Sequence[Layer], found: Sequence[Layer]) -> Finding:
        first = max(found, key=lambda layer: layer.weights_above)
        share = float(first.first_direction[-1])
        cause, advice, remedies = _cause(facts, layers)
        return Finding(
            code="HW107",
            symptom=self.symptom,
            severity="error",
            confidence=0.85,
            first_step=first.flow.passes[0].step,
            step=facts.last_step,
            where=tuple(layer_place(facts, layer) for layer in reversed(found)),
            message=f"From {place(layer_place(facts, first))} on {percent(share)} of the "
            f"differences between examples lie in one direction, in "
            f"{count(len(found), 'layer')}, while the loss stands still. {advice}",
            causes=(cause,),
            evidence={
                "first_direction": share,
                "first_direction_limit": LIMITS.share,
                "layers": len(found),
            },
            remedies=remedies,
        )


def sure_attention(facts: Facts, flow: Flow) -> list[tuple[Where, float]]:
    """Return the softmaxes of attention that were one-hot from the start and are, with the share.

    One that became so in training may have learnt to: many heads attend to one token.
    """
    newest = flow.newest
    shares = [one.columns["saturated"] for one in flow.passes]
    found = []
    for site in np.unique(newest.site[newest.kind == "attention"]).tolist():
        means = [
            float(np.nanmean(share[one.site == site]))
            for one, share in zip(flow.passes, shares, strict=True)
            if np.isfinite(share[one.site == site]).any()
        ]
        first = means[: LIMITS.first_samples]
        if len(first) == LIMITS.first_samples and min(*first, means[-1]) >= LIMITS.one_hot:
            found.append((where(facts.sites[site]), means[-1]))
    return found


def _of_attention(facts: Facts, found: Sequence[tuple[Where, float]]) -> Finding:
    at, share = found[0]
    evidence = f"in {percent(share)} of its rows one entry has all the weight from the first step"
    stalled = facts.trend.stalled
    return Finding(
        code="HW107",
        symptom=HW107.symptom,
        severity="error" if stalled else "warning",
        confidence=0.85 if stalled else 0.75,
        first_step=facts.flowing[0].passes[0].step,
        step=facts.last_step,
        where=unique([there for there, _ in found]),
        message=f"Attention at {place(at)} looks at one token only, in {percent(share)} of its "
        "rows from the first step on, and passes no gradient to its scores. Divide the scores by "
        "the root of their width, and draw smaller query and key weights.",
        causes=(Cause(cause="attention-collapse", share=1.0, evidence=evidence),),
        evidence={"one_hot": share, "one_hot_limit": LIMITS.one_hot},
        remedies=("score-scale", "xavier-init", "query-key-normalisation"),
    )


def _cause(facts: Facts, layers: Sequence[Layer]) -> tuple[Cause, str, tuple[str, ...]]:
    deepest = max(layer.weights_above for layer in layers)
    ratios = [_alignment(facts, one) for one in layers if one.weights_above < deepest]
    ratio = max(ratios, default=0.0)
    if ratio >= LIMITS.aligned:
        evidence = (
            f"pre-activations have {ratio:.1f} times the mean square that zero-mean weights of "
            "this size can give"
        )
        cause = Cause(cause="non-zero-mean-init", share=0.8, evidence=evidence)
        advice = "Draw the weights around zero (Xavier initialisation)."
        return cause, advice, ("xavier-init", "batch-normalisation")
    shares = [float(layer.first_direction[0]) for layer in layers]
    evidence = f"the share rises from {percent(min(shares))} to {percent(max(shares))} with depth"
    name = "depth-beyond-trainable" if len(layers) >= LIMITS.deep else "ordered-phase"
    cause = Cause(cause=name, share=0.6, evidence=evidence)
    advice = "Use the critical weight scale (headwater.critical_), or residual branches."
    return cause, advice, ("critical-init", "residual-connections", "batch-normalisation")


def _alignment(facts: Facts, layer: Layer) -> float:
    """Return the pre-activations' mean square over what zero-mean weights of this size give."""
    matrices, _ = feeding(facts, layer)
    square = float(layer.mean[0] ** 2 + layer.variance[0])
    if len(matrices) != 1 or not len(facts.movement.weight_norm) or not np.isfinite(square):
        return 0.0
    norm = float(facts.movement.weight_norm[0, matrices[0]])
    gain = norm**2 / facts.parameters[matrices[0]].shape[0]
    return square / gain if gain > 0 else 0.0
