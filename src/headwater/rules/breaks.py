"""HW301 in words, where the step was looked at operation by operation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from headwater.records import Cause, Fault, Finding, Where
from headwater.rules.expressions import instead
from headwater.rules.sizes import ADVICE as SIZES
from headwater.rules.sizes import REMEDIES as ADVISED
from headwater.rules.sizes import never_zeroed, why_too_large
from headwater.rules.unbounded import why_unbounded
from headwater.rules.wording import line

if TYPE_CHECKING:
    from headwater.rules.facts import Facts

SURE = 0.5
"""From this confidence on a line is named as the producer's."""

GROWN = 100.0
"""Weights that grew, or moved in one update, by so many times their own size were blown up."""

CAUSES = (
    *("log-of-zero", "log-of-negative", "sqrt-at-zero", "sqrt-of-negative", "power-at-zero"),
    *("power-of-negative", "zero-over-zero", "division-by-zero", "division-by-tiny"),
    *("exp-overflow", "inf-minus-inf", "inf-over-inf", "zero-times-inf", "masked-row", "domain"),
    *("variance-of-one", "overflow-in-half", "overflow-in-product", "overflow-in-reduction"),
    *("bad-input", "bad-buffer", "bad-update", "non-finite"),
)
"""What the replay of a broken step can find, as `headwater.replay.reasons` names it."""

_ADVICE = {
    "log-of-zero": "Keep its input above 0, or take the log with the function before it, as "
    "log_softmax, logsigmoid and the losses with logits do.",
    "log-of-negative": "Its input must be positive: look at what makes it.",
    "exp-overflow": "Subtract the largest entry first, as softmax and logsumexp do.",
    "sqrt-at-zero": "Add a small number inside of the root.",
    "sqrt-of-negative": "Clamp its input at 0: rounding can make a sum of squares negative.",
    "zero-over-zero": "Guard the division where both sides are 0.",
    "division-by-zero": "Guard the division where its divisor is 0.",
    "division-by-tiny": "Add a small number to the divisor.",
    "masked-row": "A row that is masked as a whole has nothing to attend to: unmask one entry.",
    "variance-of-one": "Use more than one element, or unbiased=False.",
    "overflow-in-half": "Run this line in float32 or bfloat16.",
    "bad-input": "Clean the data: the network's numbers are fine.",
    "bad-buffer": "Look at what wrote it: a division by the deviation of what is constant, or the "
    "statistics of a batch that was not finite.",
    "bad-update": "Lower the learning rate, or clip the gradient's norm.",
}
_REMEDIES = {
    "bad-input": ("clean-data",),
    "masked-row": ("mask-guard",),
    "bad-update": ("lower-learning-rate", "gradient-clipping"),
    "overflow-in-half": ("float32-loss", "bfloat16"),
}


_OVERFLOWS = ("overflow-in-product", "overflow-in-reduction", "exp-overflow", "overflow-in-half")


def told_by(faults: Sequence[Fault]) -> Fault | None:
    """Return the fault whose producer is known best, the earliest of these; None if none is."""
    sure = [fault for fault in faults if fault.confidence >= SURE]
    return sure[0] if sure else None


def by_an_operation(facts: Facts) -> bool:
    """Say whether an operation broke the numbers by itself, at a point where it is not defined.

    Then no norm and no loss has exploded, however far it leaps. An overflow is another matter: what
    was too large for the format had grown before.
    """
    fault = told_by(facts.faults)
    return fault is not None and fault.phase != "update" and fault.cause not in _OVERFLOWS


def _grown(facts: Facts, fault: Fault) -> float:
    """Return how many times its norm a parameter grew, or moved in one update, before the fault."""
    seen = facts.movement.step < max(1, fault.step)
    norms, moved = facts.movement.weight_norm[seen], facts.movement.relative_update[seen]
    if not len(norms):
        return 1.0
    with np.errstate(all="ignore"):
        ratios = np.concatenate([norms / np.where(norms[0] > 0, norms[0], np.nan), moved])
    ratios = ratios[np.isfinite(ratios)]
    return float(ratios.max()) if ratios.size else 1.0


def finding_of(facts: Facts, fault: Fault, then: str = "") -> Finding:
    """Say which operation broke the numbers, where, and why; and what came of it, if told."""
    place = fault.where
    parameters = [Where(parameter=name) for name in fault.parameters]
    by_update = fault.phase == "update" and parameters
    advice = _advice(facts, fault)
    remedies = _REMEDIES.get(fault.cause, ("stable-loss", "gradient-clipping"))
    causes: tuple[Cause, ...] = (Cause(cause=fault.cause, share=1.0, evidence=fault.reason),)
    overflows = fault.cause in _OVERFLOWS
    grown = _grown(facts, fault) if overflows else 1.0
    endless = why_unbounded(facts) if overflows else None
    if endless is not None:
        advice = f"But {endless.evidence}: the loss has no lower bound. {SIZES[endless.cause]}"
        causes = (replace(endless, share=0.8), replace(causes[0], share=0.2))
        remedies = ADVISED[endless.cause]
    elif grown > GROWN:
        steps = f"the updates before had grown or moved weights {grown:.2g} times their size"
        why = (never_zeroed(facts) or why_too_large(facts))[0]
        advice = f"But {steps}{_rate(facts)}: {why.evidence}. {SIZES[why.cause]}"
        causes = (
            replace(why, share=0.8, evidence=f"{steps}; {why.evidence}"),
            replace(causes[0], share=0.2),
        )
        remedies = _REMEDIES["bad-update"]
    return Finding(
        code="HW301",
        symptom="non-finite",
        severity="error",
        confidence=fault.confidence,
        first_step=fault.step,
        step=facts.last_step,
        where=tuple(parameters if by_update else [place, *parameters]),
        message=f"At step {fault.step} {_came(facts, fault)}{then}. {advice}".strip(),
        causes=causes,
        evidence=_evidence(fault),
        remedies=remedies,
    )


def _came(facts: Facts, fault: Fault) -> str:
    """Say what is not finite, what made it so, and why."""
    what = {"loss": "the loss", "gradient": "a gradient", "weight": "a weight"}[fault.seen_in]
    at = f" at {line(fault.where)}" if fault.where.line else ""
    if fault.phase in ("data", "update"):
        rate = _rate(facts) if fault.phase == "update" else ""
        return f"{what} is not finite{at}: {fault.reason}{rate}"
    way = "the backward of " if fault.phase == "backward" else ""
    name = {"to": "a cast"}.get(fault.operation, fault.operation)
    return f"{way}{name}{at} makes {what} not finite: {fault.reason}"


def _advice(facts: Facts, fault: Fault) -> str:
    stable = instead(facts, fault.where) if fault.where.line else ""
    if stable:
        return f"{stable[:1].upper()}{stable[1:]}."
    return _ADVICE.get(fault.cause, "Look at what makes its inputs.")


def _rate(facts: Facts) -> str:
    rates = [one.settings.get("lr") for one in facts.optimisers]
    return f" (learning rate {rates[0]:g})" if rates and isinstance(rates[0], float) else ""


def _evidence(fault: Fault) -> dict[str, float | str]:
    found: dict[str, float | str] = {
        "step": fault.step,
        "operation": fault.operation,
        "phase": fault.phase or "",
        "nonfinite_limit": 0,
    }
    for figures in fault.inputs[:2]:
        shape = "x".join(map(str, figures.shape)) or "scalar"
        found[f"{figures.name}_shape"] = f"{shape} {figures.dtype}"
        if figures.least is not None and figures.most is not None:
            found[f"{figures.name}_least"] = figures.least
            found[f"{figures.name}_most"] = figures.most
    if fault.note:
        found["note"] = fault.note
    return found
