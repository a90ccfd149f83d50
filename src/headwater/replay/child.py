"""Work done in a copy of this process: whatever it changes, prints or breaks, stays there."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import torch

from headwater.replay.seal import seal

_CHUNK = 1 << 16


def why_not_forked() -> str:
    """Return why this process must not be copied, "" if it may.

    A copy has one thread and no device of its own: what CUDA set up cannot be used in it.
    """
    if sys.platform != "linux":
        return f"a copy of a process is not safe on {sys.platform}"
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return "the process uses CUDA, which a copy of it cannot"
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return "the process is one of several, and the others would wait for its copy"
    return ""


def in_child(work: Callable[[], dict[str, Any]], *, limit_s: float) -> dict[str, Any]:
    """Return what ``work`` returns when it is run in a copy of this process.

    The copy computes on one thread, its output goes nowhere, and it is killed after ``limit_s``.

    Args:
        work: Returns plain data, as JSON has it; NaN and infinities are allowed.
        limit_s: Seconds to wait for it.

    Raises:
        OSError: The process cannot be copied.
        RuntimeError: ``work`` raised, took too long, or the copy died; the message says which.

    Example:
        >>> in_child(lambda: {"answer": 6 * 7}, limit_s=10)
        {'answer': 42}
    """
    with _unheard():
        text = _answer(work, limit_s)
    if text is None:
        raise RuntimeError(f"it took longer than {limit_s:.0f} s")
    if not text:
        raise RuntimeError("the process that ran the step again died")
    found: dict[str, Any] = json.loads(text)
    if "failed" in found:
        raise RuntimeError(found["failed"])
    return found


def _answer(work: Callable[[], dict[str, Any]], limit_s: float) -> bytes | None:
    reader, writer = os.pipe()
    with warnings.catch_warnings():  # Python 3.12 warns of threads; the copy uses none of them
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if process == 0:
        _be_the_child(work, writer)
    os.close(writer)
    try:
        return _received(reader, time.monotonic() + limit_s)
    finally:
        os.close(reader)
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)  # it has said all, or will not any more
        with suppress(ChildProcessError):  # where SIGCHLD is ignored the system has reaped it
            os.waitpid(process, 0)


@contextmanager
def _unheard() -> Iterator[None]:
    """Keep the copy's end from a script that listens for the ends of its children.

    The end of one of its own in the meantime is told to it afterwards.
    """
    heard = signal.getsignal(signal.SIGCHLD)
    if not callable(heard) or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, heard)
        with suppress(ChildProcessError):  # it has none
            ended = os.WEXITED | os.WSTOPPED | os.WCONTINUED
            if os.waitid(os.P_ALL, 0, ended | os.WNOHANG | os.WNOWAIT) is not None:
                heard(signal.SIGCHLD, None)


def _received(reader: int, deadline: float) -> bytes | None:
    """Return all that arrives until the other end is closed, None where the time is over."""
    parts: list[bytes] = []
    while True:
        ready, _, _ = select.select([reader], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return None
        part = os.read(reader, _CHUNK)
        if not part:
            return b"".join(parts)
        parts.append(part)


def _be_the_child(work: Callable[[], dict[str, Any]], writer: int) -> NoReturn:
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        seal(writer)
        torch.set_num_threads(1)  # the threads of the pool stayed behind
        try:
            answer = work()
        except BaseException as error:
            answer = {"failed": f"{type(error).__name__}: {error}"[:500]}
        text = json.dumps(answer).encode()
        while text:
            text = text[os.write(writer, text) :]
    finally:
        os._exit(0)
