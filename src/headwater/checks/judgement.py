"""What is wrong with a network before it trains."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from headwater.checks.descriptions import Stage, flat
from headwater.checks.readings import Reading
from headwater.records import Cause, CheckedLayer, CriticalGain, Finding, Where
from headwater.theory.layers import BatchNorm, LayerNorm, RMSNorm
from headwater.theory.precision import FORMATS, NumberFormat


@dataclass(frozen=True, kw_only=True)
class CheckLimits:
    """Beyond what a gradient's change through the network counts, in decades."""

    # As the rules have it for a network that trains: three decades and the layers that get the
    # less move at a thousandth of the others' pace under SGD.
    warning: float = 3.0
    # Adam undoes a scale, as long as it stands clear of its eps of 1e-8 and of half precision.
    error: float = 6.0
    # Weights before a norm have no scale of their own: a large gradient makes them grow until its
    # steps fit them. timm's EfficientNet and MnasNet start with three to four decades.
    normalised: float = 6.0


LIMITS = CheckLimits()


def formats(readings: Sequence[Reading]) -> dict[str, str]:
    """Return, for each number format, the first layer from the end whose gradient is lost in it.

    Lost: the root mean square of its entries lies under half the smallest number, or over the
    largest, for the loss as it is. Empty where there is none.
    """
    return {name: _fate(readings, form) for name, form in FORMATS.items()}


def _fate(readings: Sequence[Reading], form: NumberFormat) -> str:
    smallest, largest = form.ln_vanishing / math.log(10), math.log10(form.largest)
    for place in range(len(readings[0].stages) - 1, -1, -1):
        size = median(_entry(reading, place) for reading in readings)
        name = _name(readings[0], place)
        if size < smallest:
            return f"0 from {name} on"
        if size > largest or math.isnan(size):
            return f"infinite from {name} on"
    return ""


def _name(reading: Reading, place: int) -> str:
    """Name a layer, or the one that it follows."""
    named = [stage.layer.name for stage in reading.stages[: place + 1] if stage.layer.name]
    return named[-1] if named else "the input"


def _entry(reading: Reading, place: int) -> float:
    """Root mean square of the gradient's entries at a layer's output, in decades."""
    row = reading.row(reading.stages[place].node)
    if row is None:
        return 0.0  # the gradient did not come by: nothing is lost there
    return float(row["level"]) - 0.5 * math.log10(max(1, row["elements"]))


def judge(
    rows: Sequence[CheckedLayer],
    readings: Sequence[Reading],
    gains: Sequence[CriticalGain],
    fates: Mapping[str, str],
) -> tuple[Finding, ...]:
    """Return what is wrong: a pass that is not finite, or a gradient that vanishes or explodes.

    The weakest and the strongest layer count, not the first and the last: a gradient can be
    smallest in the middle. They are compared with the input of the last layer, whose own gain is
    often small by design and soon grown.
    """
    broken = _not_finite(rows)
    if broken is not None:
        return (broken,)
    body, start = rows[:-1], start_of(rows)
    if not body or start == -math.inf:
        return ()
    weakest = min(body, key=lambda row: row.gradient or 0.0)
    strongest = max(body, key=lambda row: row.gradient or 0.0)
    limit = LIMITS.normalised if _normalises(readings[0].stages) else LIMITS.warning
    case = _Case(readings, gains, fates, start)
    found = []
    if (weakest.gradient or 0.0) - start <= -LIMITS.warning:
        found.append(case.finding("HW101", weakest))
    if (strongest.gradient or 0.0) - start >= limit:
        found.append(case.finding("HW102", strongest))
    return tuple(found)


def start_of(rows: Sequence[CheckedLayer]) -> float:
    """Return the gradient's level at the input of the last layer, which all others are held to.

    -inf where the last layer passes nothing, as one whose weights start at 0.
    """
    return (rows[-2].gradient or 0.0) if len(rows) > 1 else 0.0


def _not_finite(rows: Sequence[CheckedLayer]) -> Finding | None:
    """Return the fault of a pass with a NaN or an infinity in it, None if there is none."""
    forward = next((r for r in rows if r.square is not None and not math.isfinite(r.square)), None)
    backward = next((row for row in reversed(rows) if row.gradient is None), None)
    row = forward or backward
    if row is None:
        return None
    what = "The signal" if forward is not None else "The gradient"
    return Finding(
        code="HW301",
        symptom="non-finite",
        severity="error",
        confidence=1.0,
        first_step=0,
        step=0,
        where=(Where(module=row.name, file=row.file, line=row.line),),
        message=f"{what} has a NaN or an infinity at {row.name} before training begins. "
        "Draw the weights with headwater.critical_, and look at what the batch holds.",
        remedies=("critical-init", "balanced-init"),
    )


def _normalises(stages: Sequence[Stage]) -> bool:
    norms = (BatchNorm, LayerNorm, RMSNorm)
    return any(isinstance(stage.layer, norms) for stage in flat(stages))


@dataclass(frozen=True, slots=True)
class _Case:
    """What a finding is made of; ``start`` is the gradient's level at the last layer's input."""

    readings: Sequence[Reading]
    gains: Sequence[CriticalGain]
    fates: Mapping[str, str]
    start: float

    def finding(self, code: str, row: CheckedLayer) -> Finding:
        size = (row.gradient or 0.0) - self.start
        severe = abs(size) >= LIMITS.error or self.fates["float32"] != ""
        evidence: dict[str, float | str] = {
            "gradient_decades": size,
            "warning_decades": LIMITS.warning,
            "threshold_from": "the rules' three decades of signal; 6 where Adam's eps comes near",
        }
        if row.gradient_forecast is not None:
            evidence["forecast_decades"] = row.gradient_forecast[1] - self.start
        return Finding(
            code=code,
            symptom=_SYMPTOMS[code],
            severity="error" if severe else "warning",
            confidence=0.5 if any(gain.low_confidence for gain in self.gains) else 0.95,
            first_step=0,
            step=0,
            where=(Where(module=row.name, file=row.file, line=row.line),),
            message=_message(code, row, size, self.gains),
            causes=_causes(code, self.readings),
            evidence=evidence,
            remedies=("critical-init", "balanced-init", "batch-normalisation"),
        )


def _message(code: str, row: CheckedLayer, size: float, gains: Sequence[CriticalGain]) -> str:
    times = "nothing" if size == -math.inf else f"{10 ** min(size, 300):.1e} times what"
    verb = "shrinks" if code == "HW101" else "grows"
    what = "to nothing" if size == -math.inf else f"by {abs(size):.1f} decades"
    now = [gain for gain in gains if gain.critical is not None]
    advice = "Draw the weights with headwater.critical_ or headwater.balance_."
    if now:
        gain = max(now, key=lambda each: each.layers)
        advice = (
            f"Weights after {gain.activation} have a gain of {gain.sigma_w:.3g}, and "
            f"{gain.critical:.3g} keeps the gradient: headwater.critical_(model) draws them so."
        )
    got = f"{row.name} gets {times}" if size != -math.inf else f"{row.name} gets nothing of what"
    return f"The gradient {verb} {what} before training begins: {got} the last layers get. {advice}"


def _causes(code: str, readings: Sequence[Reading]) -> tuple[Cause, ...]:
    """Split the change by the kind of operation, as the ledger has it of the deepest parameter."""
    ledger = readings[0].ledger
    deepest = max(ledger.names, key=lambda name: len(ledger.entries(name)), default=None)
    if deepest is None:
        return ()
    sign = -1 if code == "HW101" else 1
    parts = {
        kind: sign * decades
        for kind, decades in ledger.by_kind(deepest).items()
        if math.isfinite(decades) and sign * decades > 0 and kind in _CAUSES
    }
    whole = sum(parts.values())
    return tuple(
        Cause(
            cause=_CAUSES[kind][0 if code == "HW101" else 1],
            share=round(part / whole, 3),
            evidence=f"{kind}: {sign * part:+.1f} decades on the way to {deepest}",
        )
        for kind, part in sorted(parts.items(), key=lambda item: -item[1])
        if part / whole >= 0.05
    )


_SYMPTOMS = {"HW101": "vanishing-gradient", "HW102": "exploding-gradient"}

_CAUSES = {
    "weights": ("weight-scale-too-small", "weight-scale-too-large"),
    "activation": ("inherent-derivative", "weight-scale-too-large"),
    "normalisation": ("depth-beyond-trainable", "normalisation-depth"),
    "attention": ("depth-beyond-trainable", "weight-scale-too-large"),
}
"""What a loss, and what a gain, of the gradient by a kind of operation is called."""
