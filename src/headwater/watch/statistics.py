"""Pure statistics of tensors, each at most a few passes and never a synchronisation.

On the CPU a result is a float at once; on another device it stays there as a 0-d float64 tensor
(:data:`Scalar`) until :class:`Fetched` brings all of them over in one copy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from headwater.watch.reach import is_captured

Scalar = float | Tensor

_SAFE_LOW, _SAFE_HIGH = 1e-12, 1e18  # squares of what matters stay inside float32 between these
_MKLDNN: Any = torch._mkldnn  # type: ignore[attr-defined]
_BLOCK = 1024  # longer float32 sums of equal entries (a mean's gradient) are off by up to 1e-4
_BLOCKS_LISTED = 128  # so many are added here: a second kernel costs more


def plain(tensor: Tensor) -> Tensor:
    """Return the dense local tensor of entries behind a gradient of any kind.

    A sparse gradient gives its coalesced values, a nested one all its parts' entries, a
    distributed one its local shard.
    """
    if tensor.requires_grad:
        tensor = tensor.detach()
    if tensor.layout is not torch.strided:
        if tensor.layout is _MKLDNN:
            return tensor.to_dense()
        return tensor.coalesce().values() if tensor.layout is torch.sparse_coo else tensor.values()
    if tensor.is_nested:
        parts = [part.reshape(-1) for part in tensor.unbind()]
        return torch.cat(parts) if parts else torch.zeros(0)
    local = getattr(tensor, "to_local", None)
    return local() if local is not None else tensor


def has_bad_gradient(tensor: Tensor | None) -> bool:
    """Whether a leaf on the CPU has a gradient with an entry that is not finite.

    A sum of finite entries that overflows counts, too: who asks looks again.

    Example:
        >>> x = torch.zeros(2, requires_grad=True)
        >>> x.sqrt().sum().backward()
        >>> has_bad_gradient(x), has_bad_gradient(None)
        (True, False)
    """
    gradient = tensor.grad if tensor is not None else None
    if gradient is None or not gradient.is_cpu or gradient.layout is not torch.strided:
        return False
    total = float(gradient.sum().item())
    return total - total != 0


def entries(tensor: Tensor) -> int:
    """Return how many entries a tensor has; what a sparse one leaves out counts, too."""
    return (plain(tensor) if tensor.is_nested else tensor).numel()


def norm(tensor: Tensor) -> Scalar:
    """Return the Frobenius norm, right for every finite entry and for any number of entries.

    Float32 accumulation overflows from entries of 1e20, vanishes below 1e-23, and loses 4e-4 of
    the norm of ten million ordinary entries. On the CPU, sums run over blocks of 1,024 entries
    whose norms are then added in float64, and what leaves the safe range is taken again in
    float64; elsewhere float64 accumulates at once.

    Example:
        >>> f"{norm(torch.full((4,), 1e20)):.6g} {norm(torch.full((4,), 1e-23)):.6g}"
        '2e+20 2e-23'
        >>> norm(torch.zeros(3)), norm(torch.tensor([float("nan"), 1.0]))
        (0.0, nan)
    """
    tensor = plain(tensor)
    if tensor.numel() == 0:
        return 0.0
    if 0 in tensor.stride():
        once, times = _unexpanded(tensor)
        if times > 1:
            return norm(once) * math.sqrt(times)
    if tensor.device.type != "cpu":
        return _device_norm(tensor)
    if tensor.dtype is torch.float32 or tensor.dtype is torch.bfloat16:
        found = _blocked(tensor) if tensor.numel() > _BLOCK else _float32(tensor)
        if _SAFE_LOW < found < _SAFE_HIGH:
            return found
    return float(_scaled_norm(tensor).item())


def _unexpanded(tensor: Tensor) -> tuple[Tensor, int]:
    """Return what an expanded tensor repeats (a sum's gradient is one entry), and how often."""
    times = 1
    for dim, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        if stride == 0 and size > 1:
            tensor, times = tensor.narrow(dim, 0, 1), times * size
    return tensor, times


def _float32(tensor: Tensor) -> float:
    dtype = None if tensor.dtype is torch.float32 else torch.float32
    return float(torch.linalg.vector_norm(tensor, dtype=dtype).item())


def _blocked(tensor: Tensor) -> float:
    if not tensor.is_contiguous():
        # The norm does not depend on the order: read a dense tensor as it lies in memory.
        order = sorted(range(tensor.dim()), key=tensor.stride, reverse=True)
        tensor = tensor.permute(order)
    flat = tensor.reshape(-1)
    whole = flat.numel() // _BLOCK * _BLOCK
    dtype = None if tensor.dtype is torch.float32 else torch.float32
    blocks = torch.linalg.vector_norm(flat[:whole].view(-1, _BLOCK), dim=1, dtype=dtype)
    if len(blocks) > _BLOCKS_LISTED:
        blocks = torch.linalg.vector_norm(blocks, dtype=torch.float64).reshape(1)
    rest = [_float32(flat[whole:])] if whole < flat.numel() else []
    return math.hypot(*blocks.tolist(), *rest)


def _scaled_norm(tensor: Tensor) -> Tensor:
    """Scale by the largest entry first where float64 itself could overflow."""
    if tensor.dtype not in (torch.float64, torch.complex128):
        wide = torch.complex128 if tensor.is_complex() else torch.float64
        real: Tensor = torch.linalg.vector_norm(tensor, dtype=wide).real
        return real
    largest = tensor.abs().amax()
    scale = torch.where((largest > 0) & torch.isfinite(largest), largest, torch.ones_like(largest))
    size: Tensor = torch.linalg.vector_norm(tensor / scale) * scale
    return size


def _device_norm(tensor: Tensor) -> Tensor:
    return _scaled_norm(tensor)


def norms(tensors: Sequence[Tensor]) -> list[Scalar]:
    """Return the norm of each tensor; on a device all of one dtype in one multi-tensor kernel."""
    if not tensors:
        return []  # no kernel takes an empty list
    dense = [plain(tensor) for tensor in tensors]
    if any(t.device.type == "cpu" or t.dtype is torch.float64 or t.is_complex() for t in dense):
        return [norm(tensor) for tensor in dense]
    return list(torch._foreach_norm(dense, 2, dtype=torch.float64))


def largest_magnitude(tensor: Tensor) -> Scalar:
    """Return the largest magnitude, NaN if an entry is; in one pass, without a copy.

    Example:
        >>> largest_magnitude(torch.tensor([1.0, -3.0, 2.0]))
        3.0
    """
    ends = torch.stack(torch.aminmax(tensor))
    if tensor.device.type == "cpu":
        low, high = ends.tolist()
        return math.nan if math.isnan(low) else max(-low, high)
    return ends.double().abs().amax()


def combine(sizes: Sequence[Scalar]) -> Scalar:
    """Return the norm of several tensors together from the norm of each.

    Example:
        >>> combine([3.0, 4.0])
        5.0
    """
    floats = [size for size in sizes if isinstance(size, float)]
    if len(floats) == len(sizes):
        return math.hypot(*floats)
    device = next(size.device for size in sizes if isinstance(size, Tensor))
    together = [
        size.to(device, torch.float64, non_blocking=True)
        if isinstance(size, Tensor)
        else torch.full((), size, dtype=torch.float64, device=device)
        for size in sizes
    ]
    whole: Tensor = torch.linalg.vector_norm(torch.stack(together))
    return whole


def read_scalar(tensor: Tensor) -> Scalar:
    """Return a one-element tensor as a float on the CPU, as a copy of its own elsewhere."""
    if tensor.is_cpu:
        return float(tensor.item())
    return tensor.detach().reshape(()).double().clone()


def without_scale(value: Scalar, scale: Scalar) -> Scalar:
    """Take a loss scale out of a figure; NaN where the scale has fallen to 0.

    Example:
        >>> without_scale(6.0, 2.0), without_scale(6.0, 0.0)
        (3.0, nan)
    """
    fallen = isinstance(scale, float) and scale == 0  # a tensor divides by 0 without an error
    return math.nan if fallen else value / scale


class Fetched:
    """Statistics on their way to the host: one asynchronous copy for each device that holds any.

    It sets out at once, but not while a CUDA graph is captured, which would capture it too.
    ``done`` asks without waiting whether they have arrived; ``values`` waits if need be, and
    returns a float for each scalar and a list of floats for each vector. What is no tensor is
    returned as it is.

    Example:
        >>> Fetched([1.0, None, torch.tensor(2.0), torch.tensor([3.0, 4.0])]).values()
        [1.0, None, 2.0, [3.0, 4.0]]
    """

    def __init__(self, statistics: Sequence[Any]) -> None:
        self._values: list[Any] = [None if isinstance(s, Tensor) else s for s in statistics]
        self._copies: list[tuple[Tensor, list[tuple[int, torch.Size]]]] = []
        self._events: list[torch.cuda.Event] = []
        self._behind = [(i, s) for i, s in enumerate(statistics) if isinstance(s, Tensor)]
        if self._behind and not is_captured():
            self._set_out()

    def _set_out(self) -> None:
        places: dict[torch.device, list[tuple[int, Tensor]]] = {}
        for index, value in self._behind:
            places.setdefault(value.device, []).append((index, value))
        self._behind = []
        for device, found in places.items():
            flat = torch.cat([value.detach().reshape(-1).double() for _, value in found])
            shapes = [(index, value.shape) for index, value in found]
            self._copies.append((flat.to("cpu", non_blocking=True), shapes))
            if device.type == "cuda":
                event = torch.cuda.Event()  # type: ignore[no-untyped-call]
                event.record(torch.cuda.current_stream(device))
                self._events.append(event)

    def done(self) -> bool:
        """Whether the copies have arrived; never waits, nor asks while a graph is captured."""
        if self._behind or self._events:
            if is_captured():
                return False
            if self._behind:
                self._set_out()
        return all(event.query() for event in self._events)  # type: ignore[no-untyped-call]

    def values(self) -> list[Any]:
        """Return all statistics in their order; None where None was given."""
        if self._behind:
            self._set_out()
        for event in self._events:
            event.synchronize()
        for copy, shapes in self._copies:
            numbers, start = copy.tolist(), 0
            for index, shape in shapes:
                end = start + shape.numel()
                self._values[index] = numbers[start:end] if shape else numbers[start]
                start = end
        self._copies, self._events = [], []
        return self._values


def decades(size: float | None) -> float:
    """Return log10 of a norm: -inf for exactly zero, nan for what is not finite or not known.

    Example:
        >>> decades(100.0), decades(0.0), decades(float("inf"))
        (2.0, -inf, nan)
    """
    if size is None or not math.isfinite(size):
        return math.nan
    return math.log10(size) if size > 0 else -math.inf


def subnormal_limit(dtype: torch.dtype) -> float:
    """Return the smallest normal number of a floating dtype; smaller ones lose digits."""
    real = {torch.complex64: torch.float32, torch.complex128: torch.float64}.get(dtype, dtype)
    return float(torch.finfo(real).tiny)
