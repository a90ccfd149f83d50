"""Number formats: where a growing or shrinking number becomes infinite, subnormal or 0.

Every statement is made by emulating the format: a number is rounded to it after each operation,
to nearest, ties to even, with gradual underflow, as IEEE 754 and torch on a CPU do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from headwater.errors import UsageError

Fate = Literal["overflow", "underflow", "never"]
MOST_DEPTH = 1_000_000  # of an emulation; a factor within 1e-3 of 1 is followed no further


@dataclass(frozen=True, kw_only=True)
class NumberFormat:
    """A binary floating point format.

    Attributes:
        name: As torch calls it.
        digits: Binary digits of a normal number, the leading 1 included.
        least_exponent: Of the smallest normal number, 2^e.
        greatest_exponent: Of the binade of the largest one.
        computed_in: The format in which torch evaluates functions such as exp for it.
        codes_taken: Codes at the top that are no numbers though no exponent is set aside for them.

    Example:
        >>> FORMATS["float16"].largest, FORMATS["float16"].epsilon
        (65504.0, 0.0009765625)
    """

    name: str
    digits: int
    least_exponent: int
    greatest_exponent: int
    computed_in: str
    codes_taken: int = 0

    @property
    def epsilon(self) -> float:
        """Distance from 1 to the next number."""
        return 2.0 ** (1 - self.digits)

    @property
    def smallest_normal(self) -> float:
        """Smallest number with all its digits."""
        return 2.0**self.least_exponent

    @property
    def smallest(self) -> float:
        """Smallest positive number; it has one digit."""
        return math.ldexp(1.0, self.least_exponent - self.digits + 1)

    @property
    def largest(self) -> float:
        """Largest finite number."""
        return math.ldexp(2.0 - self.epsilon * (1 + self.codes_taken), self.greatest_exponent)

    @property
    def ln_vanishing(self) -> float:
        """Logarithm of half the smallest number: what is not above it rounds to 0."""
        return (self.least_exponent - self.digits) * math.log(2)

    def round(self, value: float) -> float:
        """Return the nearest number of the format, ties to even.

        Example:
            >>> FORMATS["float16"].round(0.1)
            0.0999755859375
            >>> FORMATS["float16"].round(65520.0)
            inf
        """
        if value == 0 or not math.isfinite(value) or self.digits >= 53:
            return value
        exponent = max(math.frexp(value)[1] - 1, self.least_exponent)
        unit = math.ldexp(1.0, exponent - self.digits + 1)
        rounded = round(value / unit) * unit  # Python rounds ties to even
        return math.copysign(math.inf, value) if abs(rounded) > self.largest else rounded


FORMATS: Mapping[str, NumberFormat] = {
    "float16": NumberFormat(
        name="float16", digits=11, least_exponent=-14, greatest_exponent=15, computed_in="float32"
    ),
    "bfloat16": NumberFormat(
        name="bfloat16", digits=8, least_exponent=-126, greatest_exponent=127, computed_in="float32"
    ),
    "float32": NumberFormat(
        name="float32", digits=24, least_exponent=-126, greatest_exponent=127, computed_in="float32"
    ),
    "float64": NumberFormat(
        name="float64",
        digits=53,
        least_exponent=-1022,
        greatest_exponent=1023,
        computed_in="float64",
    ),
}

EIGHT_BITS: Mapping[str, NumberFormat] = {
    "float8_e4m3fn": NumberFormat(
        name="float8_e4m3fn",
        digits=4,
        least_exponent=-6,
        greatest_exponent=8,
        computed_in="float32",
        codes_taken=1,  # the largest code is NaN, and there is no infinity
    ),
    "float8_e5m2": NumberFormat(
        name="float8_e5m2", digits=3, least_exponent=-14, greatest_exponent=15,
        computed_in="float32",
    ),
}  # fmt: skip
"""Formats to store in, apart: torch has hardly an operation on them (Micikevicius et al. 2022,
FP8 formats for deep learning, arXiv:2209.05433, table 1)."""


def number_format(name: str) -> NumberFormat:
    """Return a format by torch's name for it.

    Raises:
        UsageError: There is none of that name here.

    Example:
        >>> number_format("torch.bfloat16").smallest_normal
        1.1754943508222875e-38
    """
    word = name.removeprefix("torch.")
    known = {**FORMATS, **EIGHT_BITS}
    if word not in known:
        raise UsageError(f"no number format {name!r}; there are {', '.join(known)}")
    return known[word]


def is_format(name: str | None) -> bool:
    """Whether a dtype is a number format that is known here.

    Example:
        >>> is_format("float8_e5m2"), is_format("int8"), is_format(None)
        (True, False, False)
    """
    return name in FORMATS or name in EIGHT_BITS


def powers(factor: float, dtype: str) -> Callable[[int], float]:
    """Return x_L of x_0 = 1, x_(L+1) = round(factor x_L), by emulation.

    Example:
        >>> powers(0.5, "float16")(24) > 0, powers(0.5, "float16")(25)
        (True, 0.0)
    """
    form = number_format(dtype)
    rounded = form.round(factor)

    def at(depth: int) -> float:
        value = 1.0
        for _ in range(depth):
            # Exact in float64 for the shorter formats: their products have at most 48 digits.
            value = form.round(value * rounded)
        return value

    return at


def last_finite_depth(factor: float, dtype: str) -> int | None:
    """Largest L with factor^L finite, rounding at each layer; None if it never overflows.

    Example:
        >>> last_finite_depth(1.5, "float16")
        27
    """
    first = _first(factor, dtype, math.isinf)
    return None if first is None else first - 1


def first_zero_depth(factor: float, dtype: str) -> int | None:
    """First L at which factor^L is exactly 0, rounding at each layer; None if it never is.

    A factor over one half never gets there: the smallest number times it rounds back up to
    itself, so the gradient sticks at a subnormal number. Under flush-to-zero it dies at
    ``first_subnormal_depth``.

    Example:
        >>> first_zero_depth(0.5, "float16"), first_zero_depth(0.9, "float16")
        (25, None)
    """
    return _first(factor, dtype, lambda value: value == 0)


def first_subnormal_depth(factor: float, dtype: str) -> int | None:
    """First L at which factor^L has lost digits (0, under flush-to-zero); None if it never does.

    Example:
        >>> first_subnormal_depth(0.5, "float16")
        15
    """
    form = number_format(dtype)
    return _first(factor, dtype, lambda value: abs(value) < form.smallest_normal)


def depth_limit(factor: float, dtype: str, start: float = 1.0) -> tuple[Fate, int | None]:
    """How a gradient that changes by ``factor`` a layer ends in a format, and at which depth.

    ``underflow``: the first depth at which ``start * factor^L`` is under half the smallest number
    and so rounds to 0. ``overflow``: the last depth at which it is not over the largest. By
    logarithms and not by emulation: a real gradient has many entries and fresh rounding errors.

    Example:
        >>> depth_limit(0.236052, "float16"), depth_limit(1.035169, "bfloat16")
        (('underflow', 13), ('overflow', 2566))
    """
    form = number_format(dtype)
    if not (factor > 0 and start > 0):
        raise ValueError(f"factor and start must be positive, got {factor!r} and {start!r}")
    if factor == 1:
        return "never", None
    if factor < 1:
        layers = (form.ln_vanishing - math.log(start)) / math.log(factor)
        return "underflow", max(0, math.floor(layers) + 1)
    return "overflow", math.floor((math.log(form.largest) - math.log(start)) / math.log(factor))


def explain_limit(factor: float, dtype: str, start: float = 1.0) -> str:
    """Say how a gradient ends in a format, in one line.

    Example:
        >>> print(explain_limit(0.236052, "float16"))
        in float16 this gradient is exactly 0 below layer 13 from the end (6e-08 is the smallest)
        >>> print(explain_limit(1.0, "float16"))
        in float16 this gradient keeps its size
    """
    fate, depth = depth_limit(factor, dtype, start)
    form = number_format(dtype)
    if fate == "never":
        return f"in {form.name} this gradient keeps its size"
    if fate == "underflow":
        return (
            f"in {form.name} this gradient is exactly 0 below layer {depth} from the end "
            f"({form.smallest:.0e} is the smallest)"
        )
    return (
        f"in {form.name} this gradient is infinite beyond layer {depth} from the end "
        f"({form.largest:.3g} is the largest)"
    )


def _first(factor: float, dtype: str, is_there: Callable[[float], bool]) -> int | None:
    form = number_format(dtype)
    rounded, value = form.round(factor), 1.0
    for depth in range(1, MOST_DEPTH + 1):
        after = form.round(value * rounded)
        if is_there(after):
            return depth
        if after == value:
            return None  # it sticks: rounding gives the same number for ever
        value = after
    return None
