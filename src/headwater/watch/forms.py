"""The expressions that lose numbers, each with the call to type instead.

The calls were chosen for what they do at the edge: their values and gradients are finite where the
expression's are not (``tests/watch/test_expressions.py`` holds each to that).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Form:
    """An expression's name, and the call to type instead."""

    name: str
    stable: str


@dataclass(frozen=True, slots=True)
class Kept:
    """An output worth reading on the way: a node's, kept by a node under a name."""

    node: int
    by: int
    name: str


@dataclass(frozen=True, slots=True)
class Found:
    """An expression at the node that ends it."""

    node: int
    form: Form
    kept: tuple[Kept, ...] = ()


NAIVE_SOFTMAX = Form("naive softmax", "torch.softmax(x, dim)")
LOG_SOFTMAX = Form("log of softmax", "F.log_softmax(x, dim)")
CROSS_ENTROPY = Form("cross entropy by hand", "F.cross_entropy(x, target)")
LOG_SIGMOID = Form("log of sigmoid", "F.logsigmoid(x)")
LOG_ONE_MINUS_SIGMOID = Form("log of 1 - sigmoid", "F.logsigmoid(-x)")
BINARY_CROSS_ENTROPY = Form(
    "binary cross entropy by hand", "F.binary_cross_entropy_with_logits(x, target)"
)
LOGSUMEXP = Form("logsumexp by hand", "torch.logsumexp(x, dim)")
SOFTPLUS = Form("softplus by hand", "F.softplus(x)")
LOG1P = Form("log(1 + x)", "torch.log1p(x)")
EXPM1 = Form("exp(x) - 1", "torch.expm1(x)")
NORM = Form("norm by hand", "torch.linalg.vector_norm(x, dim=dim)")
ROOT_MEAN_SQUARE = Form(
    "root mean square by hand", "torch.linalg.vector_norm(x, dim=dim) / math.sqrt(n)"
)
DEVIATION = Form("standard deviation by hand", "torch.std(x, dim, correction=0)")

FORMS = (
    NAIVE_SOFTMAX,
    LOG_SOFTMAX,
    CROSS_ENTROPY,
    LOG_SIGMOID,
    LOG_ONE_MINUS_SIGMOID,
    BINARY_CROSS_ENTROPY,
    LOGSUMEXP,
    SOFTPLUS,
    LOG1P,
    EXPM1,
    NORM,
    ROOT_MEAN_SQUARE,
    DEVIATION,
)
