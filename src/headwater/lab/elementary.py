"""exp, log and their kin on sixteen lanes, as short series that need no library.

A vector library of these functions is not always there (numba finds Intel's only if it is
installed), so they are written out: a reduction to a small interval and a Taylor series with as
many terms as the float type has digits. Errors are a few units in the last place; a test holds
them. What few networks need (sin, cos, erf in float64) is called lane by lane from the C library.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.polynomial import chebyshev
from scipy.special import erfcx

from headwater.lab.lanes import FLAGS, INT32, INT64, LanesType, full, spread, vector_of
from headwater.lab.memory import LANES
from headwater.lab.randomness import HIGH_FACTOR, LOW_FACTOR


@dataclass(frozen=True, kw_only=True)
class Format:
    """What the series need to know of a float type.

    ``low`` and ``high`` are where exp has become 0 and infinity; ``split`` is ln 2 in two parts of
    which the first has so few digits that its products with exponents are exact; ``magic`` pushes
    the digits behind the point out of a number, so that it rounds.
    """

    integer: ir.IntType
    mantissa: int
    bias: int
    low: float
    high: float
    split: tuple[float, float]
    magic: float
    exp_terms: int
    log_terms: int


SINGLE = Format(
    integer=INT32,
    mantissa=23,
    bias=127,
    low=-105.0,
    high=89.0,
    split=(0.693359375, math.log(2) - 0.693359375),
    magic=1.5 * 2.0**23,
    exp_terms=8,
    log_terms=9,
)
DOUBLE = Format(
    integer=INT64,
    mantissa=52,
    bias=1023,
    low=-746.0,
    high=710.0,
    split=(0.6931471803691238, 1.9082149292705877e-10),
    magic=1.5 * 2.0**52,
    exp_terms=14,
    log_terms=18,
)


def _format(element: Any) -> Format:
    return SINGLE if element == types.float32 else DOUBLE


class _Code:
    """LLVM instructions on one vector type, short to write."""

    def __init__(self, builder: Any, element: Any) -> None:
        self.builder, self.format = builder, _format(element)
        self.vector = vector_of(element)
        self.whole = ir.VectorType(self.format.integer, LANES)

    def number(self, value: float) -> Any:
        return full(self.vector, value)

    def times(self, a: Any, b: Any) -> Any:
        return self.builder.fmul(a, b, flags=FLAGS)

    def plus(self, a: Any, b: Any) -> Any:
        return self.builder.fadd(a, b, flags=FLAGS)

    def horner(self, x: Any, coefficients: Sequence[float]) -> Any:
        """Return the polynomial with these coefficients, of the highest power first."""
        total = self.number(coefficients[0])
        for coefficient in coefficients[1:]:
            total = self.plus(self.times(total, x), self.number(coefficient))
        return total

    def clamped(self, x: Any, low: float, high: float) -> Any:
        """Return x within bounds; NaN stays."""
        b = self.builder
        x = b.select(b.fcmp_ordered(">", x, self.number(high)), self.number(high), x)
        return b.select(b.fcmp_ordered("<", x, self.number(low)), self.number(low), x)

    def power_of_two(self, exponent: Any) -> Any:
        """Return 2 to a vector of integers, none of them out of the format's normal range."""
        raised = self.builder.add(exponent, ir.Constant(self.whole, [self.format.bias] * LANES))
        shift = ir.Constant(self.whole, [self.format.mantissa] * LANES)
        return self.builder.bitcast(self.builder.shl(raised, shift), self.vector)

    def reduced(self, x: Any) -> tuple[Any, Any]:
        """Return r and the integers n with x = r + n ln 2 and |r| at most ln 2 / 2."""
        # Adding the magic number leaves round(x / ln 2) in the lowest bits. The sum must not be
        # fused or reordered, hence no flags; NaN gives some n and goes on in r.
        b, form = self.builder, self.format
        magic = self.number(form.magic)
        pushed = b.fadd(b.fmul(x, self.number(1 / math.log(2))), magic)
        n = b.fsub(pushed, magic)
        r = b.fsub(x, b.fmul(n, self.number(form.split[0])))
        r = b.fsub(r, b.fmul(n, self.number(form.split[1])))
        whole = b.sub(b.bitcast(pushed, self.whole), b.bitcast(magic, self.whole))
        return r, whole

    def halves(self, whole: Any) -> tuple[Any, Any]:
        """Return 2^a and 2^b with a + b = n: 2^n itself may be infinite or subnormal."""
        one = ir.Constant(self.whole, [1] * LANES)
        first = self.builder.ashr(whole, one)
        second = self.builder.sub(whole, first)
        return self.power_of_two(first), self.power_of_two(second)


def _factorials(terms: int, first: int) -> list[float]:
    return [1 / math.factorial(k) for k in range(terms - 1, first - 1, -1)]


def _exponential(c: _Code, x: Any) -> Any:
    r, whole = c.reduced(c.clamped(x, c.format.low, c.format.high))
    a, b = c.halves(whole)
    return c.times(c.times(c.horner(r, _factorials(c.format.exp_terms, 0)), a), b)


@intrinsic
def exp(_typing: Any, lanes: Any) -> Any:
    """Return e to the power of each lane."""

    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return _exponential(_Code(builder, lanes.element), arguments[0])

    return lanes(lanes), code


@intrinsic
def expm1(_typing: Any, lanes: Any) -> Any:
    """Return e to the power of each lane, less 1, without cancellation near 0."""

    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        c = _Code(builder, lanes.element)
        # Far below 0 it is -1 in every format long before the power of two leaves the normal range.
        r, whole = c.reduced(c.clamped(arguments[0], -0.5 * c.format.bias, c.format.high - 1.5))
        power = c.power_of_two(whole)
        tail = c.times(r, c.horner(r, _factorials(c.format.exp_terms + 1, 1)))
        return c.plus(c.times(tail, power), c.plus(power, c.number(-1.0)))

    return lanes(lanes), code


@intrinsic
def log1p(_typing: Any, lanes: Any) -> Any:
    """Return log(1 + u) for u between 0 and 1, as 2 artanh(u / (2 + u))."""

    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        c = _Code(builder, lanes.element)
        u = arguments[0]
        s = builder.fdiv(u, c.plus(u, c.number(2.0)))
        odd = [1 / (2 * k + 1) for k in range(c.format.log_terms - 1, -1, -1)]
        return c.times(c.plus(s, s), c.horner(c.times(s, s), odd))

    return lanes(lanes), code


def _from_library(name: str) -> Any:
    def typed(_typing: Any, lanes: Any) -> Any:
        def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            number = vector_of(lanes.element).element
            symbol = name + ("f" if lanes.element == types.float32 else "")
            kind = ir.FunctionType(number, [number])
            function = builder.module.globals.get(symbol) or ir.Function(
                builder.module, kind, symbol
            )
            found = ir.Constant(vector_of(lanes.element), ir.Undefined)
            for lane in range(LANES):
                value = builder.extract_element(arguments[0], INT32(lane))
                found = builder.insert_element(found, builder.call(function, [value]), INT32(lane))
            return found

        return lanes(lanes), code

    return typed


ERF_MIDDLE, ERF_SMALL = 2.0, 0.5


@cache
def _erf_series() -> tuple[list[float], list[float]]:
    """Return coefficients of erfcx by t = (x - 2) / (x + 2), and of erf(x) / x by x^2 near 0."""

    def scaled(t: Any) -> Any:
        return erfcx(ERF_MIDDLE * (1 + t) / (1 - t))

    far = chebyshev.cheb2poly(chebyshev.chebinterpolate(scaled, 11))
    near = [(-1) ** k / (math.factorial(k) * (2 * k + 1)) for k in range(7, -1, -1)]
    return [float(term) for term in far[::-1]], [2 / math.sqrt(math.pi) * term for term in near]


@intrinsic
def erf(typing: Any, lanes: Any) -> Any:
    """Return the error function of each lane; of float64 by the C library."""
    if lanes.element == types.float64:
        return _from_library("erf")(typing, lanes)

    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        c = _Code(builder, lanes.element)
        x, (far, near) = arguments[0], _erf_series()
        sign = builder.fcmp_ordered("<", x, c.number(0.0))
        positive = builder.select(sign, builder.fneg(x), x)
        middle = c.number(ERF_MIDDLE)
        t = builder.fdiv(builder.fsub(positive, middle), builder.fadd(positive, middle))
        fading = _exponential(c, builder.fneg(builder.fmul(x, x)))
        outer = builder.fsub(c.number(1.0), c.times(fading, c.horner(t, far)))
        outer = builder.select(sign, builder.fneg(outer), outer)
        inner = c.times(x, c.horner(c.times(x, x), near))
        small = builder.fcmp_ordered("<", positive, c.number(ERF_SMALL))
        return builder.select(small, inner, outer)

    return lanes(lanes), code


@intrinsic
def sin(typing: Any, lanes: Any) -> Any:
    """Return the sine of each lane, by the C library."""
    return _from_library("sin")(typing, lanes)


@intrinsic
def cos(typing: Any, lanes: Any) -> Any:
    """Return the cosine of each lane, by the C library."""
    return _from_library("cos")(typing, lanes)


@intrinsic
def noise(_typing: Any, keys: Any, counter: Any, like: Any) -> Any:
    """Return ``randomness.noise`` of sixteen keys and a scrambled counter, as ``like``'s type."""

    def code(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        words = ir.VectorType(INT32, LANES)
        word = builder.load(builder.bitcast(arguments[0], words.as_pointer()), align=4)
        count = context.cast(builder, arguments[1], counter, types.uint32)
        word = builder.add(word, spread(builder, words, count))

        def shifted(value: Any, places: int) -> Any:
            return builder.lshr(value, ir.Constant(words, [places] * LANES))

        def multiplied(value: Any, factor: int) -> Any:
            return builder.mul(value, ir.Constant(words, [factor] * LANES))

        word = multiplied(builder.xor(word, shifted(word, 16)), int(LOW_FACTOR))
        word = multiplied(builder.xor(word, shifted(word, 13)), int(HIGH_FACTOR))
        word = builder.xor(word, shifted(word, 16))
        vector = vector_of(like.element)
        number = builder.uitofp(shifted(word, 8), vector)
        return builder.fmul(number, full(vector, 2.0**-24))

    return LanesType(like.element)(keys, counter, like), code
