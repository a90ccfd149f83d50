"""How a tensor's entries lie over the binades, and what a number format makes of them.

An entry x is counted at its exponent, floor(log2|x|). A format's binades are cut at the same
places, so the counts alone decide the fate of an entry, but for those within rounding of an edge.
With s the smallest number of a format (2^-24 in float16), and n its smallest normal one:

- At most s / 2 becomes 0 (ties go to the even 0): that is every binade below s / 2, exactly. In
  the binade of s / 2 only the power of two itself does; its entries are counted as kept.
- Under n an entry loses digits. The last half unit below n rounds up to n; it is 2^(1 - digits) of
  the binade below n (1/1024 in float16, 1/4 in float8 e5m2), and is counted as subnormal.
- Over the largest number's binade an entry overflows (to infinity; in float8 e4m3fn, which has
  none, torch makes it NaN or the largest number, by version). In that binade what is over the
  largest number by half a unit does, too (from 65,520 on in float16, above 464 in e4m3fn): it is
  not counted, unless ``largest`` says that the largest entry is there.
- Near the largest is by whole binades: from the power of two on that stands just above a
  sixteenth of the largest number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from headwater.records import Spectrum
from headwater.theory.precision import NumberFormat, number_format

FORECASTS = ("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
"""The formats in which a tensor might be kept instead."""

HEADROOM = 16.0
"""What a loss scale must leave to the largest number: activations and batches differ by as much
from step to step, and a GradScaler that doubles its scale does so until it overflows."""


def merged(spectra: Sequence[Spectrum]) -> Spectrum:
    """Return the spectrum of several tensors together.

    Example:
        >>> merged([Spectrum.of([1.0, 0.0]), Spectrum.of([8.0])]).counts
        (1, 0, 0, 1)
    """
    kept = [one for one in spectra if one.counts]
    first = min((one.first for one in kept), default=0)
    counts = [0] * max((one.first - first + len(one.counts) for one in kept), default=0)
    for one in kept:
        for place, count in enumerate(one.counts, one.first - first):
            counts[place] += count
    return Spectrum(
        first=first,
        counts=tuple(counts),
        zeros=sum(one.zeros for one in spectra),
        nonfinite=sum(one.nonfinite for one in spectra),
        largest=max((one.top for one in kept), default=0.0),
    )


@dataclass(frozen=True, kw_only=True)
class Shares:
    """What part of a tensor's entries a format keeps how; of all entries, NaN if there are none.

    Attributes:
        zero: That are 0 in it, those included that were 0 before.
        flushed: That are 0 in it and were not before.
        subnormal: That have lost digits.
        near_largest: Within a factor 16 of its largest number, or over it.
        over: Over it.
    """

    zero: float
    flushed: float
    subnormal: float
    near_largest: float
    over: float


def shares(spectrum: Spectrum, dtype: str, log2_scale: int = 0) -> Shares:
    """Say what a format makes of a tensor times 2^k.

    Raises:
        UsageError: There is no such format here.

    Example:
        >>> found = shares(Spectrum.of([1e-8, 1e-5, 1.0, 3e4]), "float16")
        >>> found.zero, found.subnormal, found.near_largest
        (0.25, 0.25, 0.25)
        >>> shares(Spectrum.of([1e-8, 1e-5]), "float16", log2_scale=12).zero
        0.0
    """
    form = number_format(dtype)
    seen = spectrum.scaled(log2_scale)
    whole = seen.total or math.nan
    flushed = seen.below(_vanishing(form))
    over = seen.from_on(form.greatest_exponent + 1)
    if not over and math.isinf(form.round(seen.largest)):
        over = 1  # the largest entry alone is known to be in the last half unit
    near = seen.from_on(math.frexp(form.largest / HEADROOM)[1])
    return Shares(
        zero=(seen.zeros + flushed) / whole,
        flushed=flushed / whole,
        subnormal=(seen.below(form.least_exponent) - flushed) / whole,
        near_largest=near / whole,
        over=over / whole,
    )


def own_shares(spectrum: Spectrum, dtype: str) -> Shares:
    """Say the same of a tensor that is kept in the format already: what it has, nothing lost."""
    form = number_format(dtype)
    whole = spectrum.total or math.nan
    return Shares(
        zero=spectrum.zeros / whole,
        flushed=0.0,
        subnormal=spectrum.below(form.least_exponent) / whole,
        near_largest=spectrum.from_on(math.frexp(form.largest / HEADROOM)[1]) / whole,
        over=0.0,
    )


def flushed_before(spectrum: Spectrum, dtype: str) -> float:
    """Estimate which share of a tensor that was made in a format has been rounded to 0 there.

    Zeros tell nothing of where they came from; the smallest entries do. Rounding leaves three
    lowest binades whose edges lie at 1/2, 3/2, 7/2 and 15/2 of the smallest number. Where entries
    spread over many binades (those sixteen to 256 times the smallest number are at least half as
    many), the counts are carried on below, geometrically, over twelve binades at most and never as
    rising. Else the density over the lowest is taken to go on to 0, as that of normal and Laplace
    entries does. Zeros without such neighbours (dead units, padding) are not blamed on the format.
    An estimate, right to 0.1 for normal, Laplace and log-uniform entries while some are left.

    Returns:
        A share of all entries, at most those that are 0; 0 where fewer than 16 entries are small.

    Example:
        >>> import random
        >>> draw, form = random.Random(0), number_format("float16")
        >>> tiny = [form.round(draw.gauss(0.0, 1e-7)) for _ in range(10_000)]
        >>> 0.1 < flushed_before(Spectrum.of([*tiny, *[0.0] * 10_000]), "float16") < 0.2
        True
    """
    form = number_format(dtype)
    lowest = form.least_exponent - form.digits + 1
    low, middle, high = (spectrum.at(lowest + k) for k in range(3))
    if low + middle + high < _FEWEST:
        return 0.0
    at_low, at_high = low / math.log2(3), high / math.log2(15 / 7)
    above = sum(spectrum.at(lowest + k) for k in range(4, 8)) / 4
    if above >= at_low / 2:
        ratio = min(1.0, math.sqrt(at_low / at_high)) if at_high else 1.0
        lost = at_low * sum(ratio**k for k in range(1, _CARRIED + 1))
    else:
        # Between the exponents of a normal (0.18) and a Laplace density (0.5).
        steepness = max(1.0, 2 * low / middle) ** (1 / 3) if middle else 2.0
        lost = 0.5 * low * steepness
    return min(lost, spectrum.zeros) / spectrum.total


_FEWEST, _CARRIED = 16, 12


def loss_scale(spectrum: Spectrum, dtype: str) -> int | None:
    """Return the largest k whose 2^k keeps a factor 16 to the format's largest; None if all is 0.

    Example:
        >>> loss_scale(Spectrum.of([1e-8, 1e-5, 0.5]), "float16")
        12
    """
    if not spectrum.finite:
        return None
    room = number_format(dtype).largest / HEADROOM
    k = math.frexp(room)[1] - math.frexp(spectrum.top)[1]
    return k if math.ldexp(spectrum.top, k) <= room else k - 1


def explain_shares(spectrum: Spectrum, dtype: str, what: str = "gradient") -> str:
    """Say in words what becomes of a tensor in a format, and which loss scale saves it.

    Example:
        >>> print(explain_shares(Spectrum.of([1e-8] * 38 + [1e-4] * 62), "float16"))
        in float16 38 % of this gradient would be 0; a loss scale of 2^25 saves all of it
        >>> print(explain_shares(Spectrum.of([1e-8] * 38 + [2.0] * 62), "float16"))
        in float16 38 % of this gradient would be 0; a loss scale of 2^10 saves all of it
        >>> print(explain_shares(Spectrum.of([1e-4, 0.01]), "bfloat16"))
        in bfloat16 nothing of this gradient is lost
    """
    found = shares(spectrum, dtype)
    name = number_format(dtype).name
    if found.over:
        return f"in {name} {_percent(found.over)} of this {what} would overflow"
    if not found.flushed:
        lost = f"{_percent(found.subnormal)} of this {what} loses digits"
        return f"in {name} " + (lost if found.subnormal else f"nothing of this {what} is lost")
    before = spectrum.zeros / spectrum.total
    already = f" ({_percent(before)} is already)" if before else ""
    said = f"in {name} {_percent(found.zero)} of this {what} would be 0{already}"
    k = loss_scale(spectrum, dtype)
    if what != "gradient" or k is None or k < 1:
        return said
    left = shares(spectrum, dtype, k).flushed
    saves = "all of it" if not left else f"all but {_percent(left)}"
    return f"{said}; a loss scale of 2^{k} saves {saves}"


def _vanishing(form: NumberFormat) -> int:
    """Return the exponent of half the smallest number: what is in a lower binade becomes 0."""
    return form.least_exponent - form.digits


def _percent(share: float) -> str:
    if 0 < share < 0.0005:
        return "under 0.1 %"
    if 0.995 < share < 1:
        return f"{min(100 * share, 99.9):.1f} %"
    return f"{100 * share:.1f} %" if share < 0.0095 else f"{100 * share:.0f} %"
