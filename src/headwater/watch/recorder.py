"""The thread that writes: it wakes every second, so that a kill loses at most two.

It handles plain numbers only. Whatever comes from a device was fetched on the training's own
thread: another thread's call could break a CUDA graph being captured.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
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
)


class Recorder:
    """Takes rows and jobs from the training's thread and writes them from its own."""

    def __init__(
        self,
        writer: RunWriter,
        info: Callable[[], RunInfo | None],
        fault: Callable[[Exception], None],
        charge: Callable[[float], None],
    ) -> None:
        """Prepare; ``info`` returns what to put into ``run.json``, or None if it stands."""
        self._writer = writer
        self._info = info
        self._fault = fault
        self._charge = charge
        self._pulses: list[tuple[Any, ...]] = []
        self._jobs: list[Job] = []
        self._wake = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._loop, name="headwater-recorder", daemon=True)

    def start(self) -> None:
        """Begin writing."""
        self._thread.start()

    def pulse(self, row: tuple[Any, ...]) -> None:
        """Add a step's row; values in the order of the pulse table."""
        self._pulses.append(row)

    def submit(self, job: Job) -> None:
        """Add work whose columns are to be written."""
        self._jobs.append(job)

    def stop(self) -> None:
        """Write what is left and end the thread; errors of this last flush are raised."""
        self._wake.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join()
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
                columns = dict(
                    zip(_PULSE_COLUMNS, map(list, zip(*pulses, strict=True)), strict=True)
                )
                self._writer.append("pulse", columns)
            for job in jobs:
                for table, rows in job():
                    self._writer.append(table, rows)

    def _loop(self) -> None:
        while not self._wake.wait(FLUSH_EVERY_S):
            began = time.thread_time()
            try:
                self.flush()
            except Exception as error:
                self._fault(error)
                return
            self._charge(time.thread_time() - began)
