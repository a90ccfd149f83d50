"""HW302: numbers that are rounded to 0, or lose their digits, because they are too small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from headwater.records import Cause, Finding, Verdict, Where
from headwater.rules.answers import cannot_say, healthy, wrong
from headwater.rules.expressions import instead
from headwater.rules.facts import Facts
from headwater.rules.spectra import Made, Spectra, gradient_dtypes, gradients, outputs
from headwater.rules.wording import count, line, percent, unique, where
from headwater.theory.spectrum import (
    Spectrum,
    flushed_before,
    loss_scale,
    merged,
    own_shares,
)


@dataclass(frozen=True, kw_only=True)
class UnderflowLimits:
    """When small numbers are so many that the training misses them."""

    # Micikevicius et al. (2018), figure 3: a network whose float16 gradients were 0 for 31 % of
    # what scaling would have kept (67 % zeros, 36 natural) diverged without it. A tenth is told
    # apart from natural zeros with certainty (the estimate is right to a tenth).
    flushed: float = 0.1
    # Half of what should be there is gone: training stands on what is left.
    most_flushed: float = 0.5
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
        Gradients made in float16 (by parameters of that dtype, or under autocast) of which a tenth
        or more is rounded to 0: their zeros are told from natural ones by the smallest entries
        beside them. And softmaxes written out as ``exp(x) / exp(x).sum()``, or logarithms of such
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

    def judge(self, facts: Facts) -> Verdict:
        """Look at the newest samples' exponents."""
        spectra = gradients(facts.run, facts.broken_step)
        made = outputs(facts.run, facts.broken_step)
        if not spectra and not made:
            return cannot_say(self, "no sample of finite numbers has exponents in the record")
        found = _denominators(facts, made)
        dtypes = gradient_dtypes(facts.run)
        exposed = {index: name for index, name in dtypes.items() if name in EXPOSED}
        lost = _lost(spectra, exposed)
        if any(share >= LIMITS.flushed for share in lost.values()):
            found.append(_gradient(facts, spectra, exposed, lost))
        if found:
            return wrong(self, found)
        if not exposed:
            return healthy(self, "no gradient is made in a format that it could leave")
        if (
            not lost
            and spectra
            and not any(
                one[index].finite for one in spectra.values() for index in exposed if index in one
            )
        ):
            return cannot_say(self, "every float16 gradient is 0, and of what is not to be seen")
        if not lost:
            return cannot_say(
                self,
                f"{count(len(spectra), 'sample')} of float16 gradients, "
                f"{LIMITS.least_samples} needed",
            )
        return healthy(self, f"at most {percent(max(lost.values()))} of a gradient is lost")


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
) -> Finding:
    worst = sorted((i for i in lost if lost[i] >= LIMITS.flushed), key=lambda i: -lost[i])
    gone = _gone(spectra, dtypes)
    dtype, newest = dtypes[worst[0]], spectra[max(spectra)]
    whole = merged([newest[i] for i in dtypes if i in newest])
    scale = _scale(facts)
    k = loss_scale(whole, dtype) or 0
    share = float(np.median([lost[i] for i in worst]))
    names = [facts.parameters[i].name for i in worst]
    of = names[0] if len(names) == 1 else f"{len(names)} parameters (most in {names[0]})"
    cause = "unscaled-half-precision" if scale is None else "loss-scale-too-small"
    now = "no GradScaler scales the loss" if scale is None else f"the loss scale is {scale:,.0f}"
    return Finding(
        code="HW302",
        symptom=HW302.symptom,
        severity="error" if share >= LIMITS.most_flushed else "warning",
        confidence=0.85,
        first_step=min(spectra),
        step=facts.last_step,
        where=tuple(
            Where(module=facts.parameters[i].module, parameter=facts.parameters[i].name)
            for i in [*worst, *gone]
        ),
        causes=(Cause(cause=cause, share=1.0, evidence=f"made in {dtype}; {now}"),),
        message=f"In {dtype} {percent(share)} of the gradient of {of} is rounded to 0"
        + (f", {len(gone)} more have none left" if gone else "")
        + f", and {now}. "
        + _cure(k, scaled=scale is not None),
        evidence={
            "flushed_share": share,
            "flushed_limit": LIMITS.flushed,
            "parameters": len(worst),
            "parameters_gone": len(gone),
            "log2_more_scale": k,
            "subnormal_share": own_shares(whole, dtype).subnormal,
        },
        remedies=("loss-scaling", "bfloat16"),
    )


def _gone(spectra: Spectra, dtypes: Mapping[int, str]) -> list[int]:
    """Return the parameters whose gradient is 0 altogether in every sample."""
    seen = {index for found in spectra.values() for index in found if index in dtypes}
    return sorted(
        index
        for index in seen
        if not any(found[index].finite for found in spectra.values() if index in found)
    )


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
        if 0 <= one.site < len(facts.sites) and facts.sites[one.site].operation in ("Sum", "Mean"):
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
