"""Values of a training taken apart into named tensors and plain data, and put together again.

The plain data is what JSON holds, so that reading it back runs no code of anybody's: no pickle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

Packed = dict[str, Any]
"""One value: a single key says of which sort it is, as in ``{"tensor": "batch/x"}``."""

_KEPT = frozenset(
    getattr(torch, name)
    for name in (
        *("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"),
        *("int64", "int32", "int16", "int8", "uint8", "bool"),
    )
)
"""Types that every safetensors in use knows; complex ones are kept as pairs of their parts."""

_COMPLEX = (torch.complex64, torch.complex128)
_DEEPEST = 8  # containers within containers


class Unpackable(Exception):  # noqa: N818  # an answer, not a fault
    """A value that plain data and tensors cannot hold; says why."""


@dataclass(slots=True)
class Packing:
    """Takes values apart; the tensors gather in ``tensors``, by name, on the host.

    Example:
        >>> packing = Packing()
        >>> data = packing.pack({"x": torch.ones(2), "scale": 0.5}, "batch")
        >>> data, list(packing.tensors)
        ({'dict': {'x': {'tensor': 'batch.x'}, 'scale': {'float': '0.5'}}}, ['batch.x'])
        >>> unpack(data, packing.tensors)
        {'x': tensor([1., 1.]), 'scale': 0.5}
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    _storages: set[int] = field(default_factory=set)

    def pack(self, value: Any, name: str, depth: int = 0) -> Packed:
        """Return a value as plain data, its tensors kept under ``name``.

        Raises:
            Unpackable: It is, or holds, something else than tensors, arrays, numbers and text.
        """
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, Tensor):
            return self._tensor(value, name)
        if isinstance(value, np.ndarray):
            return {"array": self._tensor(_of_array(value), name)["tensor"]}
        if isinstance(value, float):
            return {"float": repr(value)}  # JSON has no NaN
        if value is None or isinstance(value, bool | int | str):
            return {"plain": value}
        return self._container(value, name, depth)

    def _container(self, value: Any, name: str, depth: int) -> Packed:
        if depth < _DEEPEST and isinstance(value, list | tuple):
            parts = [self.pack(each, f"{name}.{n}", depth + 1) for n, each in enumerate(value)]
            return {"list" if isinstance(value, list) else "tuple": parts}
        if depth < _DEEPEST and isinstance(value, Mapping) and _has_names(value):
            named = {k: self.pack(each, f"{name}.{k}", depth + 1) for k, each in value.items()}
            return {"dict": named}
        raise Unpackable(f"a {type(value).__name__} is no data")

    def _tensor(self, tensor: Tensor, name: str) -> Packed:
        if name in self.tensors:
            raise Unpackable(f"there are two of the name {name}")
        found: Packed = {"tensor": name}
        if tensor.requires_grad:
            found["requires_grad"] = True
        if tensor.dtype in _COMPLEX:
            found["complex"] = True
        self.tensors[name] = self._own(tensor)
        return found

    def _own(self, tensor: Tensor) -> Tensor:
        """Return a tensor as the file takes it: on the host, dense, sharing memory with none."""
        if type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:
            raise Unpackable(f"a {type(tensor).__name__} has no memory of its own here")
        if tensor.layout is not torch.strided or tensor.is_nested or tensor.is_meta:
            raise Unpackable(f"a tensor of layout {tensor.layout} on {tensor.device} is not kept")
        own = tensor.detach().as_subclass(Tensor).resolve_conj().resolve_neg()
        if own.dtype in _COMPLEX:
            own = torch.view_as_real(own)
        if own.dtype not in _KEPT:
            raise Unpackable(f"numbers of type {own.dtype} are not kept")
        own = own.cpu().contiguous()
        storage = own.untyped_storage().data_ptr()
        if storage in self._storages:
            own = own.clone()
        self._storages.add(own.untyped_storage().data_ptr())
        return own


def unpack(data: Packed, tensors: Mapping[str, Tensor]) -> Any:
    """Return the value that ``data`` stands for; a tensor asks for a gradient if it did.

    Raises:
        KeyError: A tensor it names is not there, or it is of a sort that is not known.
    """
    if "tensor" in data:
        tensor = tensors[data["tensor"]]
        tensor = torch.view_as_complex(tensor) if data.get("complex") else tensor
        return tensor.requires_grad_() if data.get("requires_grad") else tensor
    ((sort, content),) = data.items()
    return _SORTS[sort](content, tensors)


_SORTS: Mapping[str, Callable[[Any, Mapping[str, Tensor]], Any]] = {
    "plain": lambda content, _: content,
    "float": lambda content, _: float(content),
    "array": lambda content, tensors: tensors[content].numpy(),
    "list": lambda content, tensors: [unpack(each, tensors) for each in content],
    "tuple": lambda content, tensors: tuple(unpack(each, tensors) for each in content),
    "dict": lambda content, tensors: {k: unpack(each, tensors) for k, each in content.items()},
}


def _has_names(value: Mapping[Any, Any]) -> bool:
    return all(isinstance(key, str) for key in value)


def _of_array(array: np.ndarray[Any, Any]) -> Tensor:
    try:
        return torch.from_numpy(np.array(array, order="C"))  # a copy: it may be read-only
    except TypeError:
        raise Unpackable(f"an array of {array.dtype} is not kept") from None
