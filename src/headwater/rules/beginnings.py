"""HW101 in a network that was drawn starved: what is lost before the first step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from headwater.records import Cause, Finding
from headwater.rules.facts import Facts
from headwater.rules.passes import Flow, Pass
from headwater.rules.signal import LIMITS as SIGNAL
from headwater.rules.signal import Part, Starved, account, cause_of_loss, causes, users
from headwater.rules.trend import LIMITS as TREND
from headwater.rules.wording import place, where


@dataclass(frozen=True, kw_only=True)
class BeginningLimits:
    """When a signal that is lost at the beginning is told."""

    # Three samples outvote one odd batch. In the tune half of the corpus no healthy training loses
    # three decades in them; networks drawn too small lose 3.3 to 10.6.
    samples: int = 3
    # A layer that loses under 0.3 decades is drawn within a factor of two of what keeps the
    # gradient's size: then it is their number that does it.
    a_layer: float = 0.3
    many_layers: int = 15


LIMITS = BeginningLimits()

REMEDIES: dict[str, tuple[str, ...]] = {
    "inherent-derivative": ("relu", "he-init", "batch-normalisation", "adam"),
    "saturation": ("xavier-init", "batch-normalisation", "relu", "adam"),
    "dead-units": ("he-init", "batch-normalisation", "lower-learning-rate"),
    "weight-scale-too-small": ("he-init", "xavier-init", "batch-normalisation", "adam"),
    "depth-beyond-trainable": ("residual-connections", "he-init", "batch-normalisation"),
    "recurrent-contraction": ("orthogonal-init", "forget-bias", "gated-cell"),
    "precision-underflow": ("loss-scaling", "bfloat16"),
}

ADVICE = {
    "inherent-derivative": "use ReLU with He initialisation, or normalise between layers",
    "saturation": "shrink the weights (Xavier initialisation) or the inputs",
    "dead-units": "revive the units first: He initialisation, zero biases, a lower rate",
    "weight-scale-too-small": "draw larger weights (He for ReLU, Xavier for tanh)",
    "depth-beyond-trainable": "add residual connections, or draw weights that keep the size",
    "recurrent-contraction": "use orthogonal recurrent weights or a gated cell",
    "precision-underflow": "scale the loss (torch.amp.GradScaler) or use bfloat16",
}


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Matrices that hardly had a gradient in the first samples; ``decades`` the worst lost."""

    starved: Sequence[int]
    worst: int
    decades: float
    causes: tuple[Cause, ...]


def drawn_starved(flow: Flow, found: Starved) -> Drawn | None:
    """Return what a flow's first samples starve, and why; None if nothing, or too few are there."""
    lost = found.lost[: LIMITS.samples]
    if len(lost) < LIMITS.samples:
        return None
    typical = np.median(np.where(np.isfinite(lost).all(axis=0), lost, 0.0), axis=0)
    starved = np.flatnonzero(typical >= SIGNAL.lost_decades).tolist()
    if not starved:
        return None
    worst = starved[int(np.argmax(typical[starved]))]
    one = flow.passes[0]
    parts = account(one, one.owners[worst], sign=-1)
    why = causes(parts, -1, cause_namer(one, parts, cause_of_loss))
    return Drawn(starved=starved, worst=worst, decades=float(typical[worst]), causes=why)


def from_the_start(facts: Facts, found: Starved) -> list[Finding]:
    """Tell of layers that hardly had a gradient in the first samples, and whether they do now."""
    drawn = drawn_starved(found.flow, found)
    if drawn is None or not facts.flowing:
        return []
    one, why, starved, worst = found.flow.passes[0], drawn.causes, drawn.starved, drawn.worst
    learnt = facts.trend.made_up_for
    at = place(where(facts.sites[one.site[one.owners[worst]]]))
    advice = ADVICE[why[0].cause] if why else "see where with `headwater show`"
    now = "Training has made up for it; it" if learnt else "Until weights make up for it, what"
    rest = "would start sooner without" if learnt else "the first layers do is noise"
    return [
        Finding(
            code="HW101",
            symptom="vanishing-gradient",
            severity="info" if learnt else "warning",
            confidence=0.6 if facts.trend.state == "unknown" else 0.8,
            first_step=one.step,
            step=found.flow.newest.step,
            where=users(facts, one, starved),
            message=f"As the network was drawn, the gradient loses {drawn.decades:.1f} decades on "
            f"its way to {at}. {now} {rest}: {advice}.",
            causes=why,
            evidence={
                "lost_decades": drawn.decades,
                "lost_decades_limit": SIGNAL.lost_decades,
                "starved_parameters": len(starved),
                "samples": LIMITS.samples,
                "made_up_for_limit": TREND.made_up_for,
            },
            remedies=REMEDIES[why[0].cause] if why else ("he-init", "batch-normalisation"),
        )
    ]


def cause_namer(
    one: Pass, parts: Sequence[Part], name: Callable[[Pass, Part], str]
) -> Callable[[Part], str]:
    """Return what names a part's cause: the depth where many weights take little each.

    ``name`` names it in all other cases.
    """
    weights = [part.decades for part in parts if part.kind == "weights"]
    small = [-decades for decades in weights if decades > -LIMITS.a_layer]
    deep = len(weights) >= LIMITS.many_layers and len(small) >= 0.8 * len(weights)
    named = partial(name, one)

    def depth(part: Part) -> str:
        cause = named(part)
        return "depth-beyond-trainable" if cause == "weight-scale-too-small" else cause

    return depth if deep else named
