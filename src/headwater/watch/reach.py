"""Which backward passes are left alone, because reading their tensors would fail or do harm."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from headwater.watch.aside import uncompiled

FUNCTIONAL = (
    "torch.func transforms ran; what they differentiate is not seen, only what backward "
    "and torch.autograd.grad do outside of them"
)
CAPTURED = "backward passes were captured in a CUDA graph; what a graph replays is not seen"
BATCHED = "backward passes with batched gradients (is_grads_batched, vmap) are not seen"
COMPILED = "compiled autograd ran; its backward passes have no ledger"

_KEYS: Any = torch._C._TorchDispatchModeKey
_TRACING = (_KEYS.FAKE, _KEYS.PROXY, _KEYS.FUNCTIONAL)


@uncompiled
def out_of_reach(roots: Sequence[Any], gradients: Sequence[Any]) -> str | None:
    """Return why a backward pass must be left alone, or None; "" is not worth a note.

    Example:
        >>> seen = []
        >>> def loss(x):
        ...     seen.append(out_of_reach([x], []))
        ...     return x.sum()
        >>> _ = torch.func.grad(loss)(torch.ones(2))
        >>> seen == [FUNCTIONAL], out_of_reach([torch.ones(2)], [None])
        (True, None)
    """
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return FUNCTIONAL
    if is_captured():
        return CAPTURED
    if torch._C._len_torch_dispatch_stack() and any(map(torch._C._get_dispatch_mode, _TRACING)):
        return ""  # a compiler or an estimator of memory at work: there are no numbers
    if any(isinstance(root, Tensor) and root.device.type == "meta" for root in roots):
        return ""
    batched = torch._C._functorch.is_legacy_batchedtensor
    if any(isinstance(each, Tensor) and batched(each) for each in gradients):
        return BATCHED
    return None


def is_captured() -> bool:
    """Whether what is called now becomes a part of a CUDA graph, or would break its capture.

    Whatever is launched then is replayed for ever, and to ask an event is an error that ends the
    capture. One rule for all: nothing is read, copied or asked meanwhile.

    Example:
        >>> is_captured()
        False
    """
    on_gpu = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return on_gpu and torch.cuda.is_current_stream_capturing()


def compiles_autograd() -> bool:
    """Whether torch compiles backward passes; hooks on their nodes would be compiled with them.

    Example:
        >>> compiles_autograd()
        False
    """
    module = sys.modules.get("torch._dynamo.compiled_autograd")
    return bool(getattr(module, "compiled_autograd_enabled", False))
