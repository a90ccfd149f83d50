"""Everything of a process that an observation might leave changed."""

from __future__ import annotations

import gc
import logging
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.fx.traceback
from torch.autograd.function import BackwardCFunction

import headwater
from headwater.watch.tracebacks import HIDDEN

OURS = (str(Path(headwater.__file__).parent), HIDDEN)
_OPTIMISERS = sys.modules["torch.optim.optimizer"]
_MODULES = torch.nn.modules.module

_PLACES = (
    (torch, "is_anomaly_enabled"),
    (torch, "is_anomaly_check_nan_enabled"),
    (torch, "set_anomaly_enabled"),
    (torch.autograd, "backward"),
    (torch.autograd, "grad"),
    (torch.autograd, "_engine_run_backward"),
    (torch.autograd.graph, "_engine_run_backward"),
    (torch.fx.traceback, "format_stack"),
    (BackwardCFunction, "apply"),
    (torch.Tensor, "backward"),
    (torch.nn.Module, "__call__"),
    (torch.optim.Optimizer, "step"),
    (torch.optim.SGD, "step"),
    (torch.amp.GradScaler, "scale"),
    (torch.amp.GradScaler, "step"),
    (torch.amp.GradScaler, "unscale_"),
    (torch.amp.GradScaler, "update"),
    (sys, "excepthook"),
    (sys, "unraisablehook"),
    (sys, "displayhook"),
    (threading, "excepthook"),
    (warnings, "showwarning"),
    (warnings, "warn"),
    (signal, "signal"),
)
_GLOBAL_HOOKS = (
    (_OPTIMISERS, "_global_optimizer_pre_hooks"),
    (_OPTIMISERS, "_global_optimizer_post_hooks"),
    (_MODULES, "_global_forward_hooks"),
    (_MODULES, "_global_forward_pre_hooks"),
    (_MODULES, "_global_backward_hooks"),
    (_MODULES, "_global_backward_pre_hooks"),
)


def surroundings() -> dict[str, Any]:
    """Return the state of the process, to be compared with that of another moment."""
    state: dict[str, Any] = {f"{p.__name__}.{name}": getattr(p, name) for p, name in _PLACES}
    state |= {name: tuple(vars(place)[name].values()) for place, name in _GLOBAL_HOOKS}
    return state | {
        "anomaly mode": (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        "gradient mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "dispatch modes": torch._C._len_torch_dispatch_stack(),
        "function modes": torch._C._len_torch_function_stack(),
        "compiler": torch._C._dynamo.eval_frame.get_eval_frame_callback(),
        "threads": set(threading.enumerate()),
        "finders": tuple(sys.meta_path),
        "path": tuple(sys.path),
        "trace": (sys.gettrace(), sys.getprofile()),
        "recursion": sys.getrecursionlimit(),
        "collector": (gc.isenabled(), gc.get_threshold(), len(gc.callbacks)),
        "warnings": list(warnings.filters),
        "log": (logging.root.level, tuple(logging.root.handlers), logging.root.manager.disable),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
    }


def differences(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return what is not as it was: name, then before and after."""
    return {name: (value, after[name]) for name, value in before.items() if value != after[name]}


def frames_of_ours(function: Callable[[], Any]) -> list[str]:
    """Run a function and return the names of all of our functions that ran meanwhile."""
    found: list[str] = []

    def note(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(OURS):
            found.append(frame.f_code.co_qualname)

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return found
