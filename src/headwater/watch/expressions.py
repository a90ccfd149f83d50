"""Expressions that lose numbers where a stable form of them is to be had.

A pattern is a shape of the graph, from an operation down to what it was made of, that is looked for
once for all graphs of one shape. It counts only where the user's own line has it typed: torch's
functions and other libraries are left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from headwater.watch.forms import (
    BINARY_CROSS_ENTROPY,
    CROSS_ENTROPY,
    DEVIATION,
    EXPM1,
    LOG1P,
    LOG_ONE_MINUS_SIGMOID,
    LOG_SIGMOID,
    LOG_SOFTMAX,
    LOGSUMEXP,
    NAIVE_SOFTMAX,
    NORM,
    ROOT_MEAN_SQUARE,
    SOFTPLUS,
    Found,
    Kept,
)
from headwater.watch.graph import Walk
from headwater.watch.look import PICKS, SAME, Look
from headwater.watch.saved import saved
from headwater.watch.stacks import Place
from headwater.watch.typed import MINUS_ONE, ONE_MINUS, ONE_PLUS

_ENDS = frozenset({"Log", "Log1P", "Div", "Sqrt", "Pow", "Sub"})
_SUMS = frozenset({"Sum", "Mean", "Nansum"})
_LARGEST = frozenset({"Max", "Amax", "Topk", "Logsumexp"})
_BOUNDED = frozenset({"Clamp", "ClampMax", "LogSoftmax", "LogSigmoid", "Minimum", "Hardtanh"})
_REDUCES = frozenset({"Neg", "Sum", "Mean", "Div", *SAME})


def find_expressions(
    graph: Walk, operations: Sequence[str], places: Sequence[Place]
) -> list[Found]:
    """Return the expressions of a graph that have a stable form, each where it ends."""
    ends = [node for node, operation in enumerate(operations) if operation in _ENDS]
    look = Look(graph, operations, places)
    found = [one for node in ends if look.is_users(node) for one in _at(look, node)]
    return _together(look, found)


def _at(look: Look, node: int) -> Iterator[Found]:
    """Yield what ends in a node: at most one expression."""
    found = _PATTERNS[look.operations[node]](look, node)
    if found is not None:
        yield found


# ------------------------------------------------------------ exponentials


def _is_open(look: Look, node: int) -> bool:
    """Whether an exponential may overflow: nothing was subtracted that keeps it at 1."""
    inner = look.live(node)
    below = look.under(inner[0]) if inner else None
    operation = look.operation(below)
    if below is None or operation in _BOUNDED:
        return False
    if operation not in ("Sub", "Add", "Rsub"):
        return True
    first, second = look.sides(below)
    if first is not None and second is not None:
        return look.operation(look.under(second, PICKS)) not in _LARGEST
    return not _reaches_one(look.nodes[node])


def _reaches_one(node: Any) -> bool:
    """Whether an exponential's largest value is 1, or not known: its largest was subtracted."""
    result = saved(node, "result")
    return result is None or result.numel() == 0 or bool(result.amax() == 1)


def _summed(look: Look, node: int | None) -> tuple[int, int] | None:
    """Return (sum, exponential) where a node is a sum of exponentials, maybe of masked ones."""
    if node is None or look.operation(node) not in _SUMS:
        return None
    below = look.below(node, PICKS)
    if below is not None and look.operation(below) in ("Mul", "MaskedFill", "Where"):
        below = look.below(below, PICKS)
    if below is None or look.operation(below) != "Exp" or not _is_open(look, below):
        return None
    return node, below


def _ratio(look: Look, node: int) -> tuple[int, int, int] | None:
    """Return (exponential, sum, exponential) where a node divides one by the other."""
    above, divisor = look.sides(node)
    summed = _summed(look, divisor)
    if above is None or summed is None:
        return None
    above = look.under(above, PICKS)
    if look.operation(above) == "Mul":
        above = look.below(above, PICKS) or above
    return (above, *summed) if look.operation(above) == "Exp" else None


def _quotient(look: Look, node: int) -> Found | None:
    ratio = _ratio(look, node)
    if ratio is None or not look.typed(node, "div", "divide", "true_divide"):
        return None
    above, below = ratio[0], ratio[2]
    if above != below and look.below(above) != look.below(below):
        return None
    _, whole, exponential = ratio
    kept = (Kept(exponential, exponential, "result"), Kept(whole, node, "other"))
    look.subjects[node] = exponential
    return Found(node, NAIVE_SOFTMAX, kept)


# ------------------------------------------------------------ logarithms


def _logarithm(look: Look, node: int) -> Found | None:
    below = look.below(node, PICKS)
    if below is None or not look.typed(node, "log"):
        return None
    pattern = _OF_LOGARITHM.get(look.operation(below))
    return pattern(look, node, below) if pattern is not None else None


def _of_softmax(look: Look, node: int, _softmax: int) -> Found:
    return Found(node, CROSS_ENTROPY if _ends_in_loss(look, node) else LOG_SOFTMAX)


def _of_sigmoid(look: Look, node: int, sigmoid: int) -> Found:
    look.subjects[node] = sigmoid
    return Found(node, LOG_SIGMOID)


def _of_sum(look: Look, node: int, whole: int) -> Found | None:
    summed = _summed(look, whole)
    if summed is None:
        return None
    kept = (Kept(summed[1], summed[1], "result"), Kept(whole, node, "self"))
    return Found(node, LOGSUMEXP, kept)


def _of_quotient(look: Look, node: int, quotient: int) -> Found | None:
    ratio = _ratio(look, quotient)
    if ratio is None:
        return None
    _, whole, exponential = ratio
    kept = (Kept(exponential, exponential, "result"), Kept(whole, quotient, "other"))
    look.subjects[node] = exponential
    return Found(node, CROSS_ENTROPY if _ends_in_loss(look, node) else LOG_SOFTMAX, kept)


def _of_difference(look: Look, node: int, difference: int) -> Found | None:
    subject = look.below(difference)
    if look.operation(subject) != "Sigmoid" or not look.typed(difference, ONE_MINUS):
        return None
    look.subjects[node] = subject if subject is not None else -1
    return Found(node, LOG_ONE_MINUS_SIGMOID)


def _of_sum_with_one(look: Look, node: int, whole: int) -> Found | None:
    if len(look.live(whole)) != 1 or not look.typed(whole, ONE_PLUS):
        return None
    return Found(node, SOFTPLUS if look.operation(look.below(whole)) == "Exp" else LOG1P)


def _log1p(look: Look, node: int) -> Found | None:
    below = look.below(node)
    if below is None or look.operation(below) != "Exp" or not look.typed(node, "log1p"):
        return None
    return Found(node, SOFTPLUS) if _is_open(look, below) else None


_OF_LOGARITHM: dict[str, Callable[[Look, int, int], Found | None]] = {
    "Softmax": _of_softmax,
    "Sigmoid": _of_sigmoid,
    "Rsub": _of_difference,
    "Sub": _of_difference,
    "Add": _of_sum_with_one,
    "Div": _of_quotient,
    **dict.fromkeys(_SUMS, _of_sum),
}


def _ends_in_loss(look: Look, node: int) -> bool:
    """Whether all that is made of a logarithm is a mean over the target's entries.

    One that is weighted by anything else, such as an advantage, is no cross entropy.
    """
    chosen = any(look.operations[n] in PICKS for n in _down(look, node))
    reduced = False
    while len(look.parents[node]) == 1:
        node = look.parents[node][0]
        operation = look.operations[node]
        if operation.startswith("NllLoss"):
            return True
        picks = operation in PICKS or (operation == "Mul" and len(look.live(node)) == 1)
        if (picks and chosen) or not (picks or operation in _REDUCES):
            break
        chosen = chosen or picks
        reduced = reduced or operation in _SUMS
    return chosen and reduced


def _down(look: Look, node: int) -> Iterator[int]:
    live = look.live(node)
    while len(live) == 1 and look.operations[live[0]] in SAME | PICKS:
        yield live[0]
        live = look.live(live[0])


def _together(look: Look, found: list[Found]) -> list[Found]:
    """Name both halves of a binary cross entropy for the whole, and a logarithm's softmax once."""
    halves = {
        form: {look.subjects[one.node] for one in found if one.form is form}
        for form in (LOG_SIGMOID, LOG_ONE_MINUS_SIGMOID)
    }
    both = halves[LOG_SIGMOID] & halves[LOG_ONE_MINUS_SIGMOID]
    logs = {
        (look.subjects.get(one.node), look.places[one.node].line)
        for one in found
        if one.form in (LOG_SOFTMAX, CROSS_ENTROPY)
    }
    named = []
    for one in found:
        subject = look.subjects.get(one.node)
        if one.form is NAIVE_SOFTMAX and (subject, look.places[one.node].line) in logs:
            continue
        whole = one.form in halves and subject in both
        named.append(Found(one.node, BINARY_CROSS_ENTROPY, one.kept) if whole else one)
    return named


# ------------------------------------------------------------ roots and differences


def _power(look: Look, node: int) -> Found | None:
    exponent = getattr(look.nodes[node], "_saved_exponent", None)
    return _root(look, node) if exponent == 0.5 else None


def _root(look: Look, node: int) -> Found | None:
    below = look.below(node)
    if below is None or not look.typed(node, "sqrt", "pow"):
        return None
    operation = look.operation(below)
    if operation == "Var" or (operation == "Sub" and _is_variance(look, below)):
        return Found(node, DEVIATION)
    if operation not in _SUMS:
        return None
    squared = _squared(look, look.below(below))
    if squared is None:
        return None
    if look.operation(squared) == "Sub":
        first, second = look.sides(squared)
        if first is not None and _is_mean_of(look, second, first):
            return Found(node, DEVIATION)
    return Found(node, NORM if operation == "Sum" else ROOT_MEAN_SQUARE)


def _is_variance(look: Look, node: int) -> bool:
    """Whether a difference is E[x^2] - E[x]^2."""
    first, second = look.sides(node)
    if first is None or look.operation(first) != "Mean":
        return False
    x, mean = _squared(look, look.below(first)), _squared(look, second)
    return x is not None and _is_mean_of(look, mean, x)


def _is_mean_of(look: Look, node: int | None, x: int) -> bool:
    return node is not None and look.operation(node) == "Mean" and look.below(node) == x


def _squared(look: Look, node: int | None) -> int | None:
    """Return what a node is the square of, as ``x ** 2``, ``x.square()`` or ``x * x``."""
    if node is None:
        return None
    if look.operation(node) == "Pow":
        is_square = getattr(look.nodes[node], "_saved_exponent", None) == 2
        return look.below(node) if is_square else None
    if look.operation(node) == "Mul":
        first, second = look.sides(node)
        return first if first == second else None
    return None


def _difference(look: Look, node: int) -> Found | None:
    is_expm1 = look.operation(look.below(node)) == "Exp" and look.typed(node, MINUS_ONE)
    return Found(node, EXPM1) if is_expm1 else None


_PATTERNS: dict[str, Callable[[Look, int], Found | None]] = {
    "Log": _logarithm,
    "Log1P": _log1p,
    "Div": _quotient,
    "Sqrt": _root,
    "Pow": _power,
    "Sub": _difference,
}
