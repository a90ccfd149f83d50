"""Twenty steps of training, and all that they leave behind, to the last bit."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from specimen import Specimen
from torch import Tensor, nn

STEPS = 20
SEED = 20


class Watcher(Protocol):
    """Opens an observation of a model and its optimiser."""

    def __call__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer
    ) -> AbstractContextManager[object]: ...


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a training left: named tensors and values, and the hooks and patches still there."""

    left: dict[str, Any]
    hooks: dict[str, object]


def unobserved(_model: nn.Module, _optimizer: torch.optim.Optimizer) -> nullcontext[None]:
    """Watch nothing."""
    return nullcontext()


def train(specimen: Specimen, watch: Watcher) -> Outcome:
    """Train from the same seeds as ever; dropout, data order and noise draw from all four streams.

    Returns the outcome as it stands when the observation is closed.
    """
    torch.manual_seed(SEED)
    random.seed(SEED)
    np.random.seed(SEED)
    order = torch.Generator().manual_seed(SEED)
    model = specimen.build().train()
    data = specimen.data()
    count = len(next(iter(data.values())))
    kind = torch.optim.SGD if "momentum" in specimen.settings else torch.optim.AdamW
    optimizer = kind(model.parameters(), **specimen.settings)
    left: dict[str, Any] = {}
    with watch(model, optimizer):
        for step in range(STEPS):
            picked = torch.randperm(count, generator=order)[: specimen.batch]
            optimizer.zero_grad()
            loss = specimen.loss(model, {name: value[picked] for name, value in data.items()})
            loss = loss * (0.9 + 0.1 * random.random() + 0.1 * np.random.rand())
            loss.backward()
            optimizer.step()
            left[f"loss {step}"] = loss.detach()
    left |= {f"weight {name}": value for name, value in model.state_dict().items()}
    left |= {f"gradient {name}": p.grad for name, p in model.named_parameters()}
    left |= {f"optimiser {name}": value for name, value in _leaves(optimizer.state_dict())}
    left |= {"torch's random state": torch.get_rng_state(), "order": order.get_state()}
    left |= {"python's random state": random.getstate(), "numpy's": str(np.random.get_state())}
    return Outcome(left=left, hooks=hooks(model, optimizer))


def differences(one: Outcome, other: Outcome) -> list[str]:
    """Name what is not the same in both, bit for bit; NaN equals the same NaN."""
    names = list(one.left) + [name for name in other.left if name not in one.left]
    return [name for name in names if not _same(one.left.get(name), other.left.get(name))]


def _same(one: Any, other: Any) -> bool:
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return bool(one == other)
    return one.dtype == other.dtype and one.shape == other.shape and _bits(one) == _bits(other)


def _bits(tensor: Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from _leaves(inner, f"{path}.{key}")
    else:
        yield path, value


# ---------------------------------------------------------------- what an observer may forget

_MODULE_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_PARAMETER_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")
_OPTIMISER_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")
_GLOBAL_HOOKS = (
    (torch.nn.modules.module, "_global_forward_hooks"),
    (torch.nn.modules.module, "_global_forward_pre_hooks"),
    (torch.nn.modules.module, "_global_backward_hooks"),
    (torch.nn.modules.module, "_global_backward_pre_hooks"),
    (torch.nn.modules.module, "_global_parameter_registration_hooks"),
    (sys.modules["torch.optim.optimizer"], "_global_optimizer_pre_hooks"),
    (sys.modules["torch.optim.optimizer"], "_global_optimizer_post_hooks"),
)
_DOORS = (
    (torch.autograd, "backward"),
    (torch.autograd, "grad"),
    (torch.Tensor, "backward"),
    (torch.nn.Module, "__call__"),
    (torch.nn.utils, "clip_grad_norm_"),
    (torch.nn.utils, "clip_grad_value_"),
    (torch.optim.Optimizer, "__init__"),
    (torch.optim.Optimizer, "zero_grad"),
    (torch.optim.SGD, "step"),
    (torch.optim.AdamW, "step"),
    (torch.amp.GradScaler, "scale"),
    (torch.amp.GradScaler, "step"),
    (torch.amp.GradScaler, "unscale_"),
    (torch.amp.GradScaler, "update"),
)


def hooks(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, object]:
    """Count the hooks on a model, its optimiser and torch, and tell its patches and modes."""
    owners = [(f"module {name}", module, _MODULE_HOOKS) for name, module in model.named_modules()]
    owners += [(f"parameter {name}", p, _PARAMETER_HOOKS) for name, p in model.named_parameters()]
    owners += [("optimiser", optimizer, _OPTIMISER_HOOKS)]
    counts: dict[str, object] = {
        f"{owner} {name}": len(getattr(holder, name, None) or ())
        for owner, holder, names in owners
        for name in names
    }
    counts |= {f"global {name}": len(vars(place)[name]) for place, name in _GLOBAL_HOOKS}
    counts |= {f"door {place.__name__}.{name}": getattr(place, name) for place, name in _DOORS}
    return counts | {
        "anomaly mode": (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        "gradient mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
    }
