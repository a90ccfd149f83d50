"""What keeps a copy of the process from the world: it may compute and read, and nothing else.

A copy has memory of its own, but the files, pipes and sockets are the process's: a batch read from
a worker's queue is gone for the training, a log that is opened to be written is empty, a byte sent
to another rank is received. So nothing that is open stays connected, and nothing may be opened,
started, removed or sent.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
from contextlib import suppress
from typing import Any, NoReturn

import torch

_REFUSED = frozenset(
    """
    os.remove os.rename os.mkdir os.rmdir os.link os.symlink os.truncate os.chmod os.chown os.utime
    os.setxattr os.removexattr os.system os.exec os.fork os.forkpty os.posix_spawn os.spawn
    os.killpg subprocess.Popen fcntl.flock fcntl.lockf
    socket.connect socket.bind socket.sendto socket.sendmsg sqlite3.connect
    """.split()
)
"""Events of Python's audit that change, start or reach something outside."""

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def seal(kept: int) -> None:
    """Cut this process, which must be a copy, off from everything but the descriptor ``kept``.

    It cannot be undone. What is refused raises ``PermissionError``.
    """
    import resource  # neither this nor fcntl is everywhere

    _disconnect(kept)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115  # until it exits
    sys.dont_write_bytecode = True
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    # Torch and other libraries write without asking Python; at least no byte of theirs arrives.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    vars(torch.serialization)["_open_zipfile_writer"] = _refuse
    sys.addaudithook(_audit)


def _disconnect(kept: int) -> None:
    """Put nothing behind every open descriptor, or a file of its own where it only reads one.

    The offset of an open file is shared: reading on here, the process would read on further down.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  # no more than the names
        descriptor = int(name)
        if descriptor in (kept, nowhere):
            continue
        with suppress(OSError):  # the folder's own is closed by now
            again = _again(descriptor)
            os.dup2(nowhere if again is None else again, descriptor)
            if again is not None:
                os.close(again)


def _again(descriptor: int) -> int | None:
    """Open a file once more where a descriptor only reads it, at its place; None for all else."""
    from fcntl import F_GETFL, fcntl

    reads = fcntl(descriptor, F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    if descriptor <= 2 or not reads or not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return None
    try:
        again = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY)
        os.lseek(again, os.lseek(descriptor, 0, os.SEEK_CUR), os.SEEK_SET)
    except OSError:
        return None
    return again


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        path, _, flags = arguments
        if isinstance(flags, int) and flags & _WRITING and path != os.devnull:
            _refuse()
    elif event in _REFUSED or event.startswith("shutil.") or _to_another(event, arguments):
        _refuse()


def _to_another(event: str, arguments: tuple[Any, ...]) -> bool:
    return event == "os.kill" and arguments[0] != os.getpid()


def _refuse(*_: Any) -> NoReturn:
    raise PermissionError("a copy of the process that runs a step again changes nothing outside")
