"""Which activation of the theory a graph's node is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from headwater.watch.saved import saved


def _leaky(node: Any) -> str:
    return f"leaky_relu({float(node._saved_negative_slope)!r})"


def _prelu(node: Any) -> str | None:
    slope = saved(node, "weight")
    return f"prelu({float(slope.mean()):.6g})" if slope is not None else None


def _rrelu(node: Any) -> str:
    bounds = f"{float(node._saved_lower)!r}, {float(node._saved_upper)!r}"
    return f"rrelu({bounds}, {'train' if node._saved_training else 'eval'})"


def _elu(node: Any) -> str | None:
    alpha, scale, inner = node._saved_alpha, node._saved_scale, node._saved_input_scale
    if float(scale) == 1.0 and float(inner) == 1.0:
        return f"elu({float(alpha)!r})"
    selu = abs(float(scale) - 1.0507009873554805) < 1e-6
    return "selu" if selu and float(inner) == 1.0 else None


def _hardtanh(node: Any) -> str | None:
    bounds = float(node._saved_min_val), float(node._saved_max_val)
    return {(0.0, 6.0): "relu6", (-1.0, 1.0): "hardtanh"}.get(bounds)


def _softplus(node: Any) -> str | None:
    return "softplus" if float(node._saved_beta) == 1.0 else None


def _gelu(node: Any) -> str:
    return "gelu_tanh" if node._saved_approximate == "tanh" else "gelu"


def _is(name: str) -> Callable[[Any], str]:
    return lambda _node: name


_NAMED: Mapping[str, Callable[[Any], str | None]] = {
    "Relu": _is("relu"),
    "Tanh": _is("tanh"),
    "Sigmoid": _is("sigmoid"),
    "LeakyRelu": _leaky,
    "PreluKernel": _prelu,
    "RreluWithNoise": _rrelu,
    "Elu": _elu,
    "Celu": lambda node: f"celu({float(node._saved_alpha)!r})",
    "Gelu": _gelu,
    "Silu": _is("silu"),
    "Mish": _is("mish"),
    "Hardswish": _is("hardswish"),
    "Hardtanh": _hardtanh,
    "Hardsigmoid": _is("hardsigmoid"),
    "Softplus": _softplus,
    "LogSigmoid": _is("logsigmoid"),
    "Sin": _is("sin"),
    "Erf": _is("erf"),
}


def activation_of(node: Any, operation: str) -> str | None:
    """Return the catalogue's name of the activation that a node applies, None if it has none.

    Example:
        >>> import torch
        >>> y = torch.nn.functional.leaky_relu(torch.ones(2, requires_grad=True), 0.2)
        >>> activation_of(y.grad_fn, "LeakyRelu"), activation_of(y.grad_fn, "Mm")
        ('leaky_relu(0.2)', None)
    """
    find = _NAMED.get(operation)
    return find(node) if find is not None else None


def composite_of(operation: str, called: str, branches: tuple[tuple[str, ...], ...]) -> str | None:
    """Return the activation that a sum or product of functions of one tensor is.

    Args:
        operation: Of the node where they meet.
        called: The function of torch that made it.
        branches: The operations of each way there.

    Example:
        >>> composite_of("Mul", "", ((), ("Sigmoid",)))  # x * sigmoid(x)
        'silu'
    """
    if called in ("softsign", "tanhshrink"):
        return called
    if operation == "Mul" and sorted(branches) == [(), ("Sigmoid",)]:
        return "silu"
    return None
