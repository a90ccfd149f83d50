"""How a tensor's entries lie over the binades: counts by floor(log2|x|).

Of a large tensor 4,096 entries evenly spread are counted: a share of 0.1 % is then known to
0.05 %, and the cost does not grow with the tensor. Counts are exact for those entries, subnormal
ones included; what they mean in a number format is told by ``headwater.theory.spectrum``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from headwater.watch.statistics import plain

MOST = 1 << 12
"""Entries counted at most."""

Packed = list[int] | Tensor
"""``[first exponent, zeros, nonfinite, count at first, …]``; a float64 vector on a device."""

_HEAD = 3
_LOWEST, _HIGHEST = -149, 127  # of float32, and so of all shorter formats
_LOWEST_DOUBLE, _HIGHEST_DOUBLE = -1074, 1023
_FIELDS = {  # how an exponent is cut out of the bits: view, shift, mask, bias
    torch.float32: (torch.int32, 23, 0xFF, 127),
    torch.bfloat16: (torch.int16, 7, 0xFF, 127),
    torch.float64: (torch.int64, 52, 0x7FF, 1023),
}


class Counts(NamedTuple):
    """Counts as they are recorded: from the exponent ``first`` on, None if all are 0 or broken."""

    first: int | None
    counts: list[int]
    zeros: int
    nonfinite: int


def spread(tensor: Tensor, most: int = MOST) -> Tensor:
    """Return at most so many entries of a tensor, evenly spread, as a vector.

    The stride has no divisor in common with the number of entries, and so none with a row's length:
    no column is passed over.

    Example:
        >>> spread(torch.arange(100.0), 9)
        tensor([ 0., 13., 26., 39., 52., 65., 78., 91.])
    """
    if not tensor.is_contiguous():
        # The order does not matter: read a dense tensor as it lies in memory.
        order = sorted(range(tensor.dim()), key=tensor.stride, reverse=True)
        tensor = tensor.permute(order)
    count = tensor.numel()
    flat = tensor.reshape(-1)
    if count <= most:
        return flat
    stride = -(-count // most)
    while math.gcd(stride, count) > 1:
        stride += 1
    return flat[::stride]


def count_exponents(tensor: Tensor) -> Packed | None:
    """Count a tensor's entries by exponent, without waiting for a device; None if it has none.

    Example:
        >>> unpack(count_exponents(torch.tensor([0.0, 0.75, -1.5, 4.0, float("nan")])))
        Counts(first=-1, counts=[1, 1, 0, 1], zeros=1, nonfinite=1)
    """
    values = plain(tensor)
    if values.is_complex():
        values = torch.view_as_real(values)
    if values.numel() == 0 or not values.is_floating_point():
        return None
    values = spread(values)
    if values.dtype not in _FIELDS:
        values = values.float()  # exact: float16 and float8
    return _by_bits(values) if values.device.type == "cpu" else _by_comparison(values)


def _by_bits(values: Tensor) -> list[int]:
    view, shift, mask, bias = _FIELDS[values.dtype]
    fields = (values.view(view) >> shift) & mask
    counts = torch.bincount(fields, minlength=mask + 1).tolist()
    nonfinite = counts.pop()
    rest = counts.pop(0)
    zeros = values.numel() - int(torch.count_nonzero(values))
    found = _trimmed(1 - bias, counts)
    if rest > zeros:  # subnormal numbers, whose field says only that they are
        small = values[(fields == 0) & (values != 0)].double()
        lower = torch.frexp(small).exponent - 1
        first = int(lower.min())
        head = torch.bincount(lower - first, minlength=1 - bias - first).tolist()
        gap = [0] * (found[0] - (1 - bias)) if found[1] else []
        found = (first, head + gap + found[1])
    return [found[0], zeros, nonfinite, *found[1]]


def _by_comparison(values: Tensor) -> Tensor:
    """Count on a device, where ``bincount`` would wait for the largest index."""
    double = values.dtype is torch.float64
    lowest, highest = (_LOWEST_DOUBLE, _HIGHEST_DOUBLE) if double else (_LOWEST, _HIGHEST)
    finite, zero = torch.isfinite(values), values == 0
    exponents = torch.frexp(values.double()).exponent - 1
    exponents = torch.where(finite & ~zero, exponents, lowest - 1)
    bins = torch.arange(lowest, highest + 1, device=values.device)
    counts = (exponents.unsqueeze(0) == bins.unsqueeze(1)).sum(dim=1)
    head = [torch.full_like(counts[0], lowest), zero.sum(), (~finite).sum()]
    return torch.cat([torch.stack(head), counts]).double()


def unpack(packed: Sequence[float] | None) -> Counts | None:
    """Return fetched counts as they are recorded, without zeros at the ends."""
    if packed is None:
        return None
    first, zeros, nonfinite = (int(value) for value in packed[:_HEAD])
    start, counts = _trimmed(first, [int(value) for value in packed[_HEAD:]])
    return Counts(start if counts else None, counts, zeros, nonfinite)


def count_columns(what: str, counts: Sequence[Counts | None]) -> dict[str, list[Any]]:
    """Return the four columns of a table that hold counts; null where there are none."""
    return {
        f"{what}_exponent": [one and one.first for one in counts],
        f"{what}_counts": [one and one.counts for one in counts],
        f"{what}_zeros": [one and one.zeros for one in counts],
        f"{what}_nonfinites": [one and one.nonfinite for one in counts],
    }


def _trimmed(first: int, counts: list[int]) -> tuple[int, list[int]]:
    filled = [place for place, count in enumerate(counts) if count]
    if not filled:
        return first, []
    return first + filled[0], counts[filled[0] : filled[-1] + 1]
