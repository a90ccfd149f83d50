"""Arguments at which exp, sigmoid, tanh and softmax leave a number format.

Each threshold is the exact one: the real-number threshold is found with 60 decimal digits and
moved to the nearest number of the format on the far side. Functions of half formats are computed
in float32 and rounded, as torch does.
"""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

from headwater.theory.precision import NumberFormat, number_format

DIGITS = 60


def exp_limits(dtype: str) -> dict[str, float]:
    """Real arguments at which exp leaves a format: ``overflow``, ``subnormal``, ``zero``.

    ln(largest), ln(smallest normal), ln(smallest / 2).

    Example:
        >>> {name: round(x, 4) for name, x in exp_limits("float16").items()}
        {'overflow': 11.0899, 'subnormal': -9.7041, 'zero': -17.3287}
    """
    form = number_format(dtype)
    return {
        "overflow": math.log(form.largest),
        "subnormal": form.least_exponent * math.log(2),
        "zero": form.ln_vanishing,
    }


def exp_overflows_at(dtype: str) -> float:
    """Smallest number x of the format with exp(x) = inf.

    Also the smallest logit at which a softmax that does not subtract the maximum,
    exp(x) / (exp(x) + exp(0)), is inf / inf = nan.

    Example:
        >>> exp_overflows_at("float16"), exp_overflows_at("bfloat16")
        (11.09375, 89.0)
    """
    form = number_format(dtype)
    # From halfway between the largest number and the next power of two on, rounding gives inf.
    edge = _power(form.greatest_exponent + 1) - _power(form.greatest_exponent - form.digits)
    return _beyond(_ln(edge), form, up=True)


def exp_vanishes_at(dtype: str) -> float:
    """Largest number x of the format with exp(x) = 0.

    Its negative is the smallest gap between two logits at which log(softmax(x)) is -inf for the
    lower one; log_softmax stays finite.

    Example:
        >>> exp_vanishes_at("float16"), exp_vanishes_at("bfloat16")
        (-17.34375, -93.0)
    """
    form = number_format(dtype)
    return _beyond(_ln(_power(form.least_exponent - form.digits)), form, up=False)


def sigmoid_saturates_at(dtype: str) -> float:
    """Smallest x of the format with sigmoid(x) = 1: its gradient s (1 - s) is 0 from here on.

    Computed as 1 / (1 + exp(-x)): in the computing format the sum rounds to 1 once exp(-x) is at
    most half the distance to the next number; a shorter format then rounds once more.

    Example:
        >>> sigmoid_saturates_at("bfloat16"), sigmoid_saturates_at("float32")
        (6.25, 16.63553237915039)
    """
    form = number_format(dtype)
    if form.computed_in == form.name:
        return _beyond(_ln(_power(form.digits)), form, up=True)
    # 1 - sigmoid(x) = 1 / (1 + e^x) at most a quarter of epsilon, which is half the step below 1.
    return _beyond(_ln(_power(form.digits + 1) - 1), form, up=True)


def sigmoid_vanishes_at(dtype: str) -> float:
    """Largest x of the format with sigmoid(x) = 0.

    Computed as 1 / (1 + exp(-x)): 0 where exp(-x) is inf in the computing format, or where the
    result rounds to 0 in the format itself, whichever comes first.

    Example:
        >>> sigmoid_vanishes_at("float16"), sigmoid_vanishes_at("bfloat16")
        (-17.34375, -89.0)
    """
    form = number_format(dtype)
    computing = number_format(form.computed_in)
    edge = _power(computing.greatest_exponent + 1) - _power(
        computing.greatest_exponent - computing.digits
    )
    inverse = _beyond(-_ln(edge), form, up=False)
    rounding = _beyond(_ln(_power(form.least_exponent - form.digits)), form, up=False)
    return max(inverse, rounding)


def tanh_saturates_at(dtype: str) -> float:
    """Smallest x of the format with tanh(x) = 1, correctly rounded: its gradient is 0 from here.

    1 - tanh(x) = 2 / (e^2x + 1) is at most a quarter of epsilon. In float32 and float64 torch's
    vectorised tanh is not correctly rounded: it reaches 1 within 1e-5 of here, before or after.

    Example:
        >>> tanh_saturates_at("float16")
        4.5078125
    """
    form = number_format(dtype)
    return _beyond(_ln(_power(form.digits + 2) - 1) / 2, form, up=True)


def _power(exponent: int) -> Decimal:
    with localcontext() as context:
        context.prec = 400
        return Decimal(2) ** exponent


def _ln(value: Decimal) -> Decimal:
    with localcontext() as context:
        context.prec = DIGITS
        return value.ln()


def _beyond(threshold: Decimal, form: NumberFormat, *, up: bool) -> float:
    """Nearest number of the format at or beyond a threshold."""
    value = form.round(float(threshold))
    exponent = max(math.frexp(value)[1] - 1, form.least_exponent)
    step = math.ldexp(1.0, exponent - form.digits + 1) * (1 if up else -1)
    while (Decimal(value) < threshold) if up else (Decimal(value) > threshold):
        value += step
    while (Decimal(value - step) >= threshold) if up else (Decimal(value - step) <= threshold):
        value -= step
    return value
