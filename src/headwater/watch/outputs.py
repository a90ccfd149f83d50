"""What operations put out: largest entry and exponent counts, from what the graph kept.

Of an activation that kept its input, the output is computed again: of the entries that are counted,
and of the two at the ends, one of which the largest output comes from (the functions that are not
monotone have their other extreme, of at most 0.38, between).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from headwater.watch.exponents import Packed, count_columns, count_exponents, spread, unpack
from headwater.watch.saved import saved
from headwater.watch.statistics import Scalar, largest_magnitude


@dataclass(frozen=True, slots=True)
class Output:
    """One operation's output in one sample."""

    dtype: torch.dtype
    largest: Scalar
    exponents: Packed


def _elu(node: Any, x: Tensor) -> Tensor:
    below = torch.expm1(x * node._saved_input_scale) * node._saved_alpha * node._saved_scale
    return torch.where(x > 0, x * node._saved_scale, below)


_POINTWISE: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "LeakyRelu": lambda n, x: F.leaky_relu(x, n._saved_negative_slope),
    "Elu": _elu,
    "Celu": lambda n, x: F.celu(x, n._saved_alpha),
    "Gelu": lambda n, x: F.gelu(x, approximate=n._saved_approximate),
    "Silu": lambda _n, x: F.silu(x),
    "Mish": lambda _n, x: F.mish(x),
    "Hardswish": lambda _n, x: F.hardswish(x),
    "Hardtanh": lambda n, x: F.hardtanh(x, n._saved_min_val, n._saved_max_val),
    "Hardsigmoid": lambda _n, x: F.hardsigmoid(x),
    "Softplus": lambda n, x: F.softplus(x, n._saved_beta, n._saved_threshold),
    "LogSigmoid": lambda _n, x: F.logsigmoid(x),
    "Hardshrink": lambda n, x: F.hardshrink(x, n._saved_lambd),
    "Softshrink": lambda n, x: F.softshrink(x, n._saved_lambd),
    "Sin": lambda _n, x: torch.sin(x),
    "Erf": lambda _n, x: torch.erf(x),
}


def activation_output(node: Any, operation: str) -> Output | None:
    """Read an activation's output, where its node kept enough to know it."""
    if operation in ("PreluKernel", "RreluWithNoise"):
        return _slopes(node, "weight" if operation == "PreluKernel" else "noise")
    function = _POINTWISE.get(operation)
    kept = saved(node, "self") if function is not None else None
    if kept is None or function is None:  # done in place, it kept the result instead
        return kept_output(node, "result")
    if kept.numel() == 0 or not kept.is_floating_point():
        return None
    with torch.no_grad():
        ends = torch.stack(torch.aminmax(kept))
        made = function(node, torch.cat([spread(kept), ends]))
        exponents = count_exponents(made[:-2])
        return None if exponents is None else Output(made.dtype, largest_magnitude(made), exponents)


def kept_output(node: Any, name: str) -> Output | None:
    """Read an output that a node saved, its own or that of one of its inputs."""
    return _read(saved(node, name))


def _slopes(node: Any, name: str) -> Output | None:
    """Read the output of an activation whose slopes are a tensor: a unit's, or random ones."""
    kept, slopes = saved(node, "self"), saved(node, name)
    if kept is None or slopes is None:
        return kept_output(node, "result")
    if name == "noise" and slopes.shape != kept.shape:
        return None  # in evaluation there is none
    return _read(torch.where(kept > 0, kept, kept * slopes.to(kept.dtype)))


def _read(made: Tensor | None) -> Output | None:
    if made is None or made.numel() == 0 or not made.is_floating_point():
        return None
    exponents = count_exponents(made)
    return None if exponents is None else Output(made.dtype, largest_magnitude(made), exponents)


def output_scalars(outputs: Mapping[int, Output]) -> list[Any]:
    """Return what is to be fetched of outputs, two figures each."""
    return [figure for one in outputs.values() for figure in (one.largest, one.exponents)]


def output_columns(
    outputs: Mapping[int, Output], fetched: Sequence[Any], nodes: Sequence[int]
) -> dict[str, list[Any]]:
    """Return the columns of ``sites.arrow`` on outputs, a row for each of ``nodes``."""
    largest = dict(zip(outputs, fetched[::2], strict=True))
    counts = dict(zip(outputs, map(unpack, fetched[1::2]), strict=True))
    return {
        "output_dtype": [dtype_name(outputs[n].dtype) if n in outputs else None for n in nodes],
        "output_largest": [largest.get(node) for node in nodes],
        **count_columns("output", [counts.get(node) for node in nodes]),
    }


def dtype_name(dtype: torch.dtype | None) -> str | None:
    """Return a dtype's name as the record has it.

    Example:
        >>> dtype_name(torch.bfloat16)
        'bfloat16'
    """
    return str(dtype).removeprefix("torch.") if dtype is not None else None
