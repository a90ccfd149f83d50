"""The thread that writes: it wakes every second, so that a kill loses at most two.

It handles plain numbers only. Whatever comes from a device was fetched on the training's own
thread: another thread's call could break a CUDA graph being captured. The thread is not one of
``threading``'s, as scripts join all those they find; and it rests while the process forks, as a
child must not inherit a lock that it holds.
"""

from __future__ import annotations

import _thread
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from headwater.runs.info import RunInfo
from headwater.runs.schema import TableName
from headwater.runs.writer import RunWriter

Job = Callable[[], Iterable[tuple[TableName, Mapping[str, Sequence[Any]]]]]
"""Work put off to the writing thread: makes columns of plain numbers."""

FLUSH_EVERY_S = 1.0

_PULSE_COLUMNS = (
    "step",
    "time_s",
    "step_ms",
    "optimiser",
    "loss",
    "backwards",
    "loss_scale",
    "skipped",
    "sampled",
    "total_norm",
    "gradient_norms",
    "update_norm",
    "slope",
    "slope_after",
)


class Recorder:
    """Takes rows and jobs from the training's thread and writes them from its own.

    Attributes:
        error: What went wrong in the thread, which then ended; the observation asks for it.
    """

    def __init__(
        self,
        writer: RunWriter,
        info: Callable[[], RunInfo | None],
        charge: Callable[[float], None],
    ) -> None:
        """Prepare; ``info`` returns what to put into ``run.json``, or None if it stands."""
        self.error: Exception | None = None
        self._writer = writer
        self._info = info
        self._charge = charge
        self._pulses: list[tuple[Sequence[Any], ...]] = []
        self._jobs: list[Job] = []
        self._writing = threading.RLock()  # a signal handler may flush in the middle of a flush
        self._wake = threading.Event()
        self._rests = threading.Event()
        self._rests.set()

    def start(self) -> None:
        """Write what is known by now, and begin to write by itself."""
        self.flush()
        _RUNNING.add(self)
        self._work()

    def rest(self) -> None:
        """End the thread until there is something to write."""
        self._wake.set()
        self._rests.wait()

    def pulses(self, *columns: Sequence[Any]) -> None:
        """Add rows of steps, column by column in the order of the pulse table."""
        self._pulses.append(columns)
        if self._rests.is_set():
            self._work()

    def submit(self, job: Job) -> None:
        """Add work whose columns are to be written."""
        self._jobs.append(job)

    def stop(self) -> None:
        """Write what is left and end the thread; errors of this last flush are raised."""
        _RUNNING.discard(self)
        self.rest()
        if self.error is not None:
            raise self.error
        self.flush()

    def flush(self) -> None:
        """Write all that is waiting, now."""
        with self._writing:
            pulses, self._pulses = self._pulses, []
            jobs, self._jobs = self._jobs, []
            info = self._info()
            if info is not None:  # first, so that no row names a site that is not yet known
                self._writer.write_info(info)
            if pulses:
                whole = [list(chain.from_iterable(parts)) for parts in zip(*pulses, strict=True)]
                self._writer.append("pulse", dict(zip(_PULSE_COLUMNS, whole, strict=True)))
            for job in jobs:
                for table, rows in job():
                    self._writer.append(table, rows)

    def _work(self) -> None:
        if self not in _RUNNING or self.error is not None:
            return
        self._wake.clear()
        self._rests.clear()
        try:
            _thread.start_new_thread(self._loop, ())
        except BaseException:
            self._rests.set()
            raise

    def _loop(self) -> None:
        try:
            while not self._wake.wait(FLUSH_EVERY_S):
                began = time.thread_time()
                self.flush()
                self._charge(time.thread_time() - began)
        except Exception as error:
            self.error = error
        finally:
            self._rests.set()


_RUNNING: weakref.WeakSet[Recorder] = weakref.WeakSet()


def _rest_all() -> None:
    for recorder in tuple(_RUNNING):
        recorder.rest()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_rest_all)
