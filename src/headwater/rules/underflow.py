"""HW302: numbers that are rounded to 0, or lose their digits, because they are too small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from headwater.records import Cause, Finding, ParameterInfo, Spectrum, Verdict, Where
from headwater.rules.answers import cannot_say, healthy, wrong
from headwater.rules.expressions import instead
from headwater.rules.facts import Facts
from headwater.rules.wording import count, line, names, percent, unique, where
from headwater.runs.spectra import (
    Cast,
    Made,
    Spectra,
    casts,
    gradient_dtypes,
    gradients,
    greatest_norm,
    outputs,
)
from headwater.theory.precision import is_format
from headwater.theory.spectrum import (
    flushed_before,
    loss_scale,
    merged,
    own_shares,
)


@dataclass(frozen=True, kw_only=True)
class UnderflowLimits:
    """When small numbers are so many that the training misses them."""

    # The estimate of what was flushed is right to a tenth on the shapes it was tried on; less than
    # that could be natural zeros.
    flushed: float = 0.1
    # Half of what should be there is gone: training stands on what is left.
    most_flushed: float = 0.5
    # Where whole gradients are 0 and more than half of what is left elsewhere has lost digits, the
    # former were below: beside a dead layer the others are of ordinary size.
    subnormal: float = 0.5
    # Two samples cannot outvote each other.
    least_samples: int = 3
    # A denominator that has lost digits spoils its whole row; one row in a thousand is a row in
    # every batch. Healthy ones are of order 1.
    denominators: float = 1e-3


LIMITS = UnderflowLimits()

EXPOSED = ("float16", "float8_e4m3fn", "float8_e5m2")
"""Formats whose smallest numbers gradients reach. Where bfloat16 or float32 (1e-38) end, the
gradient has vanished before, which is HW101's."""


class HW302:
    """Underflow.

    What it sees:
        Casts to float16 through which a tenth or more of the gradient's norm is lost. Gradients
        made in float16 (by parameters of that dtype, or under autocast) of which a tenth or more
        is rounded to 0: their zeros are told from natural ones by the smallest entries beside
        them. And softmaxes written out as ``exp(x) / exp(x).sum()``, or logarithms of such
        sums, whose denominators have lost digits. Updates that are lost to rounding are HW105's.

    Why it hurts:
        What is rounded to 0 teaches nothing, and nothing says so: the loss only falls more slowly.

    Example:
        ``torch.autocast("cuda", torch.float16)`` without ``torch.amp.GradScaler``: float16 ends at
        6e-8, where many gradients of a mean over a batch lie.

    References:
        Micikevicius et al. (2018), Mixed precision training, arXiv:1710.03740, section 3.2.
    """

    symptom: ClassVar[str] = "underflow"
    causes: ClassVar[tuple[str, ...]] = (
        "unscaled-half-precision",
        "loss-scale-too-small",
        "naive-softmax",
    )

    def judge(self, facts: Facts) -> Verdict:
        """Look at the newest samples' exponents."""
        spectra = gradients(facts.run, facts.broken_step)
        made = outputs(facts.run, facts.broken_step)
        if not spectra and not made:
            return cannot_say(self, "no sample of finite numbers has exponents in the record")
        found = _denominators(facts, made)
        exposed = {i: name for i, name in gradient_dtypes(facts.run).items() if name in EXPOSED}
        lost = _lost(spectra, exposed)
        at_cast = _worst_cast(facts)
        if at_cast is not None:
            found.append(_cast(facts, *at_cast))
        elif lost and (seen := _gradient(facts, spectra, exposed, lost)) is not None:
            found.append(seen)
        if found:
            return wrong(self, found)
        if not exposed:
            return healthy(self, "no gradient is made in a format that it could leave")
        if lost:
            return healthy(self, f"at most {percent(max(lost.values()))} of a gradient is lost")
        return cannot_say(
            self,
            f"{count(len(spectra), 'sample')} of float16 gradients that are not 0 altogether, "
            f"{LIMITS.least_samples} needed",
        )


def _worst_cast(facts: Facts) -> tuple[Cast, float] | None:
    """Return the cast to a shorter format that rounds most of a gradient away, in most samples.

    With the share of the norm that is gone.
    """
    seen: dict[tuple[int, str], list[Cast]] = {}
    for one in casts(facts.run, facts.broken_step):
        if one.after in EXPOSED and one.before not in EXPOSED and 0 <= one.site < len(facts.sites):
            seen.setdefault((one.site, one.after), []).append(one)
    gone = [
        (group[-1], 1 - 10.0 ** float(np.median([one.decades for one in group])))
        for group in seen.values()
        if len({one.step for one in group}) >= LIMITS.least_samples
    ]
    gone = [pair for pair in gone if pair[1] >= LIMITS.flushed]
    return max(gone, key=lambda pair: pair[1], default=None)


def _cast(facts: Facts, cast: Cast, share: float) -> Finding:
    scale = _scale(facts)
    place = where(facts.sites[cast.site])
    now, cause = _now(scale)
    return Finding(
        code="HW302",
        symptom=HW302.symptom,
        severity="error" if share >= LIMITS.most_flushed else "warning",
        confidence=0.95,
        first_step=min(one.step for one in casts(facts.run, facts.broken_step)),
        step=facts.last_step,
        where=(place,),
        causes=(Cause(cause=cause, share=1.0, evidence=f"{cast.before} to {cast.after}; {now}"),),
        message=f"On its way back through the cast at {line(place)}, {percent(share)} of the "
        f"gradient is rounded to 0 in {cast.after}, and {now}. "
        + ("Start it higher" if scale is not None else "Use torch.amp.GradScaler")
        + ", or use bfloat16.",
        evidence={"norm_lost": share, "norm_lost_limit": LIMITS.flushed},
        remedies=("loss-scaling", "bfloat16"),
    )


def _now(scale: float | None) -> tuple[str, str]:
    """Say how the loss is scaled, and name the cause that follows."""
    if scale is None:
        return "no GradScaler scales the loss", "unscaled-half-precision"
    return f"the loss scale is {scale:,.0f}", "loss-scale-too-small"


def _lost(spectra: Spectra, dtypes: Mapping[int, str]) -> dict[int, float]:
    """Return which share of what is not 0 by nature was rounded to 0, in most newest samples."""
    shares: dict[int, list[float]] = {}
    for found in spectra.values():
        for index, spectrum in found.items():
            if index in dtypes and spectrum.finite:
                flushed = flushed_before(spectrum, dtypes[index]) * spectrum.total
                shares.setdefault(index, []).append(flushed / (flushed + spectrum.finite))
    return {
        index: float(np.median(seen))
        for index, seen in shares.items()
        if len(seen) >= LIMITS.least_samples
    }


def _gradient(
    facts: Facts, spectra: Spectra, dtypes: Mapping[int, str], lost: Mapping[int, float]
) -> Finding | None:
    """Judge the gradients themselves: a share of each, or all of some beside what hardly is."""
    worst = sorted((i for i in lost if lost[i] >= LIMITS.flushed), key=lambda i: -lost[i])
    gone = _gone(spectra, dtypes)
    newest = spectra[max(spectra)]
    whole = merged([newest[i] for i in dtypes if i in newest])
    left = whole.finite / whole.total if whole.total else 0.0
    if not left:
        return None
    dtype = dtypes[[*worst, *gone, *dtypes][0]]
    subnormal = own_shares(whole, dtype).subnormal / left
    if not worst and not (gone and subnormal >= LIMITS.subnormal):
        return None
    scale = _scale(facts)
    now, cause = _now(scale)
    share = float(np.median([lost[i] for i in worst])) if worst else 1.0
    known = [facts.parameters[i] for i in [*worst, *gone]]
    return Finding(
        code="HW302",
        symptom=HW302.symptom,
        severity="error" if share >= LIMITS.most_flushed else "warning",
        confidence=0.85,
        first_step=min(spectra),
        step=facts.last_step,
        where=tuple(Where(module=info.module, parameter=info.name) for info in known),
        causes=(Cause(cause=cause, share=1.0, evidence=f"made in {dtype}; {now}"),),
        message=f"In {dtype} {_what(known, len(worst), share, subnormal)}, and {now}. "
        + _cure(_more_scale(facts, whole, dtype), scaled=scale is not None),
        evidence={
            "flushed_share": share,
            "flushed_limit": LIMITS.flushed,
            "parameters": len(worst),
            "parameters_gone": len(gone),
            "subnormal_share": subnormal,
            "log2_more_scale": _more_scale(facts, whole, dtype),
        },
        remedies=("loss-scaling", "bfloat16"),
    )


def _what(known: Sequence[ParameterInfo], worst: int, share: float, subnormal: float) -> str:
    gone = len(known) - worst
    if not worst:
        return (
            f"the gradient of {names(known)} is 0 altogether, {percent(subnormal)} of what is "
            "left of the others has lost digits"
        )
    of = known[0].name if worst == 1 else f"{worst} parameters (most in {known[0].name})"
    more = f", {gone} more have none left" if gone else ""
    return f"{percent(share)} of the gradient of {of} is rounded to 0{more}"


def _gone(spectra: Spectra, dtypes: Mapping[int, str]) -> list[int]:
    """Return the parameters whose gradient is 0 altogether in every sample."""
    seen = {index for found in spectra.values() for index in found if index in dtypes}
    return sorted(
        index
        for index in seen
        if not any(found[index].finite for found in spectra.values() if index in found)
    )


def _more_scale(facts: Facts, whole: Spectrum, dtype: str) -> int:
    """Return the largest k by which all gradients may be scaled, those within the network too."""
    largest = greatest_norm(facts.run, EXPOSED, facts.broken_step)
    return loss_scale(replace(whole, largest=max(whole.top, largest)), dtype) or 0


def _cure(k: int, *, scaled: bool) -> str:
    if k < 1:
        return "Its largest entries leave no room for a larger scale: use bfloat16."
    if scaled:
        return f"A scale 2^{k} times as large still leaves a factor 16 to the largest number."
    return (
        f"Use torch.amp.GradScaler (a scale of 2^{k} leaves a factor 16 to the largest number) or "
        "bfloat16."
    )


def _scale(facts: Facts) -> float | None:
    scales = facts.pulse.loss_scale[np.isfinite(facts.pulse.loss_scale)]
    return float(scales[-1]) if len(scales) else None


def _denominators(facts: Facts, made: Sequence[Made]) -> list[Finding]:
    """Judge the sums of exponentials that the stable form would not take."""
    sums: dict[tuple[int, str], list[Made]] = {}
    for one in made:
        if not is_format(one.dtype) or not 0 <= one.site < len(facts.sites):
            continue
        if facts.sites[one.site].operation in ("Sum", "Mean"):
            sums.setdefault((one.site, one.dtype), []).append(one)
    found = []
    for (site, dtype), seen in sums.items():
        bad = [one for one in seen if _spoilt(one.spectrum, dtype) >= LIMITS.denominators]
        if 2 * len({one.step for one in bad}) > len({one.step for one in seen}):
            found.append(_denominator(facts, site, dtype, bad))
    return found


def _spoilt(spectrum: Spectrum, dtype: str) -> float:
    shares = own_shares(spectrum, dtype)
    return shares.zero + shares.subnormal


def _denominator(facts: Facts, site: int, dtype: str, bad: Sequence[Made]) -> Finding:
    share = max(_spoilt(one.spectrum, dtype) for one in bad)
    place = where(facts.sites[site])
    advice = instead(facts, place)
    return Finding(
        code="HW302",
        symptom=HW302.symptom,
        severity="warning",
        confidence=0.9,
        first_step=min(one.step for one in bad),
        step=facts.last_step,
        where=unique([place]),
        causes=(
            Cause(
                cause="naive-softmax",
                share=1.0,
                evidence=f"sums of exponentials under {dtype}'s smallest normal number",
            ),
        ),
        message=f"The exponentials at {line(place)} are so small that {percent(share)} of their "
        f"sums have lost digits in {dtype}. "
        + (
            advice[:1].upper() + advice[1:] + "."
            if advice
            else "Subtract the largest before the exponential, as torch.softmax does."
        ),
        evidence={"spoilt_share": share, "spoilt_limit": LIMITS.denominators},
        remedies=("stable-loss",),
    )
