"""Tracebacks as plain ``python`` would print them: without the frames of the observer."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import CodeType, TracebackType
from typing import Any

PACKAGE = str(Path(__file__).parent.parent) + os.sep

HIDDEN = "<headwater, passed over as importlib._bootstrap is>"
"""The file of our functions that call the script's: ``warnings.warn`` counts no frame so named.

A frame more would move the line that a warning is about, and with it what is printed and filtered.
"""


def hide_frame(function: Callable[..., Any]) -> None:
    """Let a function's frame not count where a warning goes up the stack."""
    function.__code__ = function.__code__.replace(co_filename=HIDDEN)


def hide_our_frames(error: BaseException, boundary: frozenset[CodeType]) -> None:
    """Cut our frames out of the tracebacks of ``error`` and of all it is chained to.

    Ours are those up to the frames that run ``boundary``, which called the script, and those of
    this package that stand between the script's frames and torch's.
    """
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        link = waiting.pop()
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        link.__traceback__ = _without_ours(_after(boundary, link.__traceback__))
        waiting += [link.__cause__, link.__context__]
        if isinstance(link, BaseExceptionGroup):
            waiting += link.exceptions


def _after(boundary: frozenset[CodeType], trace: TracebackType | None) -> TracebackType | None:
    at = trace
    while at is not None:
        if at.tb_frame.f_code in boundary:
            return at.tb_next
        at = at.tb_next
    return trace


def _without_ours(trace: TracebackType | None) -> TracebackType | None:
    """Leave out frames that stand between the script's and torch's; keep one that raised."""
    while trace is not None and trace.tb_next is not None and _is_ours(trace):
        trace = trace.tb_next
    at = trace
    while at is not None and at.tb_next is not None:
        if _is_ours(at.tb_next) and at.tb_next.tb_next is not None:
            at.tb_next = at.tb_next.tb_next
        else:
            at = at.tb_next
    return trace


def _is_ours(trace: TracebackType) -> bool:
    return trace.tb_frame.f_code.co_filename.startswith((PACKAGE, HIDDEN))
