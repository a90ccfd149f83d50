"""What the tensors of an operation hold."""

from __future__ import annotations

import torch
from torch import Tensor

from headwater.records import Figures


def is_finite(tensor: Tensor) -> bool:
    """Whether every entry is a number; integers always are.

    One pass: a sum that is finite has finite terms only. The other way round it is not so, then
    all entries are looked at.

    Example:
        >>> is_finite(torch.tensor([3e38, 3e38])), is_finite(torch.tensor([1.0, float("nan")]))
        (True, False)
    """
    if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.numel() == 0:
        return True
    if tensor.layout is not torch.strided:
        return is_finite(tensor.coalesce().values()) if tensor.is_sparse else True
    if tensor.dtype.itemsize == 1:  # float8 cannot be added up
        tensor = tensor.float()
    total = tensor.sum()
    return bool((total - total == 0).item()) or bool(torch.isfinite(tensor).all().item())


def has_nan(tensor: Tensor) -> bool:
    """Whether an entry is NaN.

    Example:
        >>> has_nan(torch.tensor([float("inf")])), has_nan(torch.tensor([float("nan")]))
        (False, True)
    """
    return tensor.is_floating_point() and bool(torch.isnan(tensor).any().item())


def figures(tensor: Tensor, name: str = "") -> Figures:
    """Return what a tensor holds.

    Example:
        >>> found = figures(torch.tensor([-1.0, 0.0, float("nan")]), "self")
        >>> found.least, found.most, found.nans, found.zeros, found.first_bad
        (-1.0, 0.0, 1, 1, (2,))
    """
    dtype = str(tensor.dtype).removeprefix("torch.")
    shape = tuple(tensor.shape)
    if not tensor.is_floating_point() or tensor.layout is not torch.strided:
        return Figures(name=name, shape=shape, dtype=dtype, elements=tensor.numel())
    values = tensor.detach()
    values = values.float() if values.dtype.itemsize < 4 else values
    good = values[torch.isfinite(values)]
    bad = torch.nonzero(~torch.isfinite(values))
    return Figures(
        name=name,
        shape=shape,
        dtype=dtype,
        least=float(good.min().item()) if good.numel() else None,
        most=float(good.max().item()) if good.numel() else None,
        elements=values.numel(),
        nans=int(torch.isnan(values).sum().item()),
        infinities=int(torch.isinf(values).sum().item()),
        zeros=int((good == 0).sum().item()),
        negatives=int((good < 0).sum().item()),
        first_bad=tuple(int(i) for i in bad[0].tolist()) if len(bad) else None,
    )
