"""Our own code, run where neither the compiler nor the training's torch modes look.

Hooks run in the middle of somebody else's program. Without this, ``torch.compile`` would compile
what they call (a step that calls ``backward`` in a compiled function took 226 frames instead of
3), and a mode of the script's, such as a counter of operations, would count ours.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import CodeType
from typing import Any, ParamSpec, TypeVar

import torch
from torch.utils._python_dispatch import _disable_current_modes

_P = ParamSpec("_P")
_T = TypeVar("_T")

_FRAMES: Any = torch._C._dynamo.eval_frame
_set_compiler: Callable[[Any], Any] = _FRAMES.set_eval_frame
_dispatch_modes: Callable[[], int] = torch._C._len_torch_dispatch_stack
_function_modes: Callable[[], int] = torch._C._len_torch_function_stack


def aside(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Return ``function`` so that the compiler and torch's modes see nothing of it.

    Example:
        >>> from torch.utils.flop_counter import FlopCounterMode
        >>> with FlopCounterMode(display=False) as counted:
        ...     _ = aside(lambda: torch.ones(2, 2) @ torch.ones(2, 2))()
        >>> counted.get_total_flops()
        0
    """

    @functools.wraps(function)
    def unseen(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        compiler = _set_compiler(None)
        try:
            if _dispatch_modes() or _function_modes():
                with _disable_current_modes(), torch._C.DisableTorchFunction():
                    return function(*args, **kwargs)
            return function(*args, **kwargs)
        finally:
            _set_compiler(compiler)

    never_compile(unseen)
    return unseen


def uncompiled(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Return ``function`` hidden from the compiler, but not from torch's modes: it asks for them.

    Example:
        >>> uncompiled(len)([1, 2])
        2
    """

    @functools.wraps(function)
    def unseen(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        compiler = _set_compiler(None)
        try:
            return function(*args, **kwargs)
        finally:
            _set_compiler(compiler)

    never_compile(unseen)
    return unseen


def never_compile(function: Callable[..., Any]) -> None:
    """Let the compiler pass over a function's own frame, but not over what it calls."""
    code: CodeType = function.__code__
    if hasattr(_FRAMES, "skip_code"):  # torch 2.6
        _FRAMES.skip_code(code)
        return
    action = _FRAMES._FrameAction
    strategy = _FRAMES._FrameExecStrategy(action.SKIP, action.DEFAULT)
    _FRAMES.set_code_exec_strategy(code, strategy)
