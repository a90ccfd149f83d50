"""Why an operation's output was not finite, in words, from what it was given.

Pure: an operation's name, the autograd node it ran for, and the figures of its inputs. The first
reason of the table whose test holds is the one; the last holds always.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from headwater.records import Figures, Phase
from headwater.theory.precision import FORMATS

_LN_LARGEST = {"float16": 11.09, "bfloat16": 88.72, "float32": 88.72, "float64": 709.78}
_SMALL = ("float16", "float8_e4m3fn", "float8_e5m2")
_REDUCTIONS = frozenset("sum mean prod cumsum cumprod linalg_vector_norm norm logsumexp".split())
_LOGARITHMS = frozenset("log log2 log10 log1p".split())
_EXPONENTIALS = frozenset("exp exp2 expm1 sinh cosh".split())
_DOMAINS = {"acos": "[-1, 1]", "asin": "[-1, 1]", "atanh": "(-1, 1)", "acosh": "[1, inf)",
            "lgamma": "x > 0", "digamma": "x > 0", "logit": "(0, 1)",
            "erfinv": "(-1, 1)"}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Happening:
    """What a reason is asked about.

    ``operation`` is what ran, ``forward`` the operation whose forward or backward it is,
    ``first`` and ``second`` its first two tensors.
    """

    operation: str
    forward: str
    phase: Phase
    inputs: tuple[Figures, ...]
    scalars: tuple[float, ...] = ()
    makes_nan: bool = False

    @property
    def first(self) -> Figures:
        """The first tensor it was given."""
        return self.inputs[0] if self.inputs else _NOTHING

    @property
    def second(self) -> Figures:
        """The second one."""
        return self.inputs[1] if len(self.inputs) > 1 else _NOTHING

    @property
    def divisor(self) -> Figures:
        """What a division divides by."""
        return next((each for each in self.inputs if each.name == "other"), self.second)


_NOTHING = Figures(name="", shape=(), dtype="")


@dataclass(frozen=True, slots=True)
class Reason:
    """A cause's code, and its words."""

    cause: str
    words: str


def reason(happening: Happening) -> Reason:
    """Return why an operation's output was not finite.

    Example:
        >>> x = Figures(name="self", shape=(4,), dtype="float32", elements=4, least=0.0, most=1.0,
        ...     zeros=3)
        >>> reason(Happening(operation="log", forward="log", phase="forward", inputs=(x,))).words
        'the logarithm of 0 (3 of 4 inputs) is minus infinity'
    """
    for test in _TESTS:
        found = test(happening)
        if found is not None:
            return found
    return Reason("non-finite", f"{happening.forward} made it of finite numbers")


_PLAIN = {"convolution_overrideable": "conv", "convolution": "conv", "mkldnn_convolution": "conv",
          "addmm": "linear", "native_batch_norm_legit": "batch_norm",
          "nll_loss_forward": "nll_loss",
          "native_batch_norm": "batch_norm", "native_layer_norm": "layer_norm",
          "native_group_norm": "group_norm", "linalg_vector_norm": "norm", "to_copy": "to",
          "scaled_dot_product_flash_attention_for_cpu": "scaled_dot_product_attention",
          "scaled_dot_product_flash_attention": "scaled_dot_product_attention"}  # fmt: skip


def plain_name(operation: str) -> str:
    """Return what a user calls an operation of torch's.

    Example:
        >>> plain_name("native_layer_norm"), plain_name("log")
        ('layer_norm', 'log')
    """
    return _PLAIN.get(operation, operation)


def forward_of(node: str) -> str:
    """Return the operation that an autograd node is the backward of.

    Example:
        >>> forward_of("SqrtBackward0"), forward_of("LogSoftmaxBackward0")
        ('sqrt', 'log_softmax')
    """
    stem = node.partition("Backward")[0]
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(stem))


def _of(count: int, figures: Figures) -> str:
    return f"{count:,} of {figures.elements:,} inputs" if figures.elements > 1 else "its input"


def _logarithm(it: Happening) -> Reason | None:
    if it.phase != "forward" or it.operation not in _LOGARITHMS:
        return None
    given = it.first
    if given.least is not None and given.least < (-1 if it.operation == "log1p" else 0):
        return Reason(
            "log-of-negative",
            f"the logarithm of a negative number ({given.least:.3g}) is NaN",
        )
    if it.operation == "log1p":
        return Reason("log-of-zero", f"log1p of -1 ({_of(1, given)}) is minus infinity")
    return Reason(
        "log-of-zero", f"the logarithm of 0 ({_of(given.zeros, given)}) is minus infinity"
    )


def _root(it: Happening) -> Reason | None:
    if it.phase == "forward" and it.operation in ("sqrt", "rsqrt"):
        if it.first.negatives:
            return Reason(
                "sqrt-of-negative", f"the root of a negative number ({it.first.least:.3g}) is NaN"
            )
        return Reason("division-by-zero", "one over the root of 0 is infinite")
    if it.phase == "backward" and (it.forward in ("sqrt", "rsqrt") or it.forward.endswith("norm")):
        what = "a root" if it.forward == "sqrt" else "a norm"
        return Reason("sqrt-at-zero", f"the derivative of {what} at 0 is infinite")
    return None


def _distance(it: Happening) -> Reason | None:
    if it.phase == "backward" and it.forward in ("cdist", "euclidean_dist", "std", "std_mean"):
        return Reason("sqrt-at-zero", f"the derivative of {it.forward} where it is 0 is not finite")
    return None


def _power(it: Happening) -> Reason | None:
    if it.forward not in ("pow", "float_power"):
        return None
    if it.phase == "forward" and it.first.negatives and not _is_whole(it.scalars):
        return Reason(
            "power-of-negative",
            f"a negative number ({it.first.least:.3g}) to a power that is not whole is NaN",
        )
    if it.first.zeros and not _is_whole(it.scalars, at_least=0):
        return Reason("power-at-zero", "0 to a negative power is infinite")
    return None


def _is_whole(exponents: Sequence[float], *, at_least: float = -math.inf) -> bool:
    """Whether the exponent is a constant, and a whole number: ``x ** 2`` takes any ``x``."""
    return bool(exponents) and exponents[-1] >= at_least and float(exponents[-1]).is_integer()


def _division(it: Happening) -> Reason | None:
    if it.operation not in ("div", "true_divide", "reciprocal", "remainder", "fmod", "divide"):
        return None
    top, low = it.first, it.first if it.operation == "reciprocal" else it.divisor
    if low.zeros or (low is _NOTHING and 0.0 in it.scalars):
        if top.zeros and it.operation != "reciprocal" and it.phase == "forward":
            return Reason("zero-over-zero", "0 divided by 0 is NaN")
        many = f" ({_of(low.zeros, low)})" if low.elements > 1 else ""
        return Reason("division-by-zero", f"a number divided by 0{many} is infinite")
    if low.least is not None and low.most is not None:
        least = min(abs(low.least), abs(low.most))
        return Reason(
            "division-by-tiny", f"divided by {least:.3g}, it is beyond the range of {low.dtype}"
        )
    return None


def _log_backward(it: Happening) -> Reason | None:
    if it.phase == "backward" and it.forward in _LOGARITHMS:
        return Reason(
            "log-of-zero", "the derivative of the logarithm at 0 is infinite, or 0 times that"
        )
    return None


def _from_infinities(it: Happening) -> Reason | None:
    if not it.makes_nan:
        return None
    if it.operation in ("softmax", "log_softmax", "safe_softmax", "softmax_backward_data"):
        return Reason("masked-row", "a row whose logits are all minus infinity has no softmax")
    if it.operation in ("sub", "add", "rsub", "sum", "addcmul"):
        return Reason("inf-minus-inf", "infinity minus infinity is NaN")
    if it.operation == "div":
        return Reason("inf-over-inf", "infinity divided by infinity is NaN")
    return Reason("zero-times-inf", "0 times infinity is NaN")


def _infinite_number(it: Happening) -> Reason | None:
    """A number of the program that is infinite, as the one that a mask is multiplied by."""
    if it.operation == "mul" and it.first.zeros and any(math.isinf(each) for each in it.scalars):
        many = _of(it.first.zeros, it.first)
        return Reason("zero-times-inf", f"0 ({many}) times infinity is NaN")
    return None


def _exponential(it: Happening) -> Reason | None:
    if it.operation not in _EXPONENTIALS or it.first.most is None:
        return None
    limit = _LN_LARGEST.get(it.first.dtype, 88.72)
    return Reason(
        "exp-overflow",
        f"{it.operation} of {it.first.most:.4g}: in {it.first.dtype} it is infinite above {limit}",
    )


def _variance(it: Happening) -> Reason | None:
    if it.phase == "forward" and it.operation in ("var", "std", "var_mean", "std_mean"):
        return Reason(
            "variance-of-one",
            "the unbiased variance of one element is 0 divided by 0",
        )
    return None


def _domain(it: Happening) -> Reason | None:
    domain = _DOMAINS.get(it.forward)
    if domain is None:
        return None
    if it.phase == "forward":
        given = it.first
        return Reason(
            "domain", f"{it.forward} of {given.least:.4g} to {given.most:.4g} leaves {domain}"
        )
    return Reason("domain", f"the derivative of {it.forward} at the end of {domain} is infinite")


def _range(it: Happening) -> Reason | None:
    """An overflow of a number format: what is left where every input is finite."""
    if it.makes_nan or not it.inputs:
        return None
    dtype = it.first.dtype
    largest = FORMATS[dtype].largest if dtype in FORMATS else None
    top = max((max(abs(f.least or 0), abs(f.most or 0)) for f in it.inputs), default=0.0)
    beyond = f" (its largest number is {largest:.5g})" if largest is not None else ""
    if it.operation in ("to_copy", "copy", "to"):
        return Reason("overflow-in-half", f"{top:.4g} does not fit the format it is cast to")
    if any(f.dtype in _SMALL for f in it.inputs):
        return Reason(
            "overflow-in-half", f"{it.operation} of numbers up to {top:.4g} leaves {dtype}{beyond}"
        )
    if it.operation in _REDUCTIONS:
        return Reason(
            "overflow-in-reduction",
            f"{it.operation} over {it.first.elements:,} numbers up to {top:.4g} leaves "
            f"{dtype}{beyond}",
        )
    if largest is not None and top > largest**0.25:
        return Reason(
            "overflow-in-product",
            f"{it.operation} of numbers up to {top:.4g} leaves {dtype}{beyond}",
        )
    return None


_TESTS: Sequence[Callable[[Happening], Reason | None]] = (
    _from_infinities,
    _infinite_number,
    _logarithm,
    _log_backward,
    _root,
    _distance,
    _power,
    _domain,
    _exponential,
    _variance,
    _division,
    _range,
)
"""In the order in which they are asked."""
