"""The division of labour: which backend, what memory, which blocks, on how many threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from queue import SimpleQueue
from threading import Event, get_ident

from headwater.errors import EnsembleError, MissingExtraError
from headwater.lab.blocks import Block, Sheets, follow
from headwater.lab.history import History
from headwater.lab.memory import (
    LANES,
    STACKED,
    compiled_block_bytes,
    recorded_bytes,
    stacked_member_bytes,
)
from headwater.lab.training import Backend, Plan, Progress, Resources

Listener = Callable[[Progress], None]


@dataclass(frozen=True, kw_only=True)
class Division:
    """How an ensemble is divided into blocks.

    Attributes:
        backend: Which one works.
        members: Members of a block.
        at_once: Blocks worked on at a time.
        memory_bytes: What all of it takes.
    """

    backend: Backend
    members: int
    at_once: int
    memory_bytes: int


def divide(plan: Plan, resources: Resources) -> Division:
    """Return the largest division that fits the memory.

    Raises:
        EnsembleError: Nothing fits.
        MissingExtraError: The kernel is asked for and numba is not there.
    """
    backend = _backend(resources)
    recorded, members = recorded_bytes(plan), len(plan.members)
    if backend == "kernel":
        unit, least = LANES, compiled_block_bytes(plan)
    else:
        unit, least = STACKED, STACKED * stacked_member_bytes(plan)
    units, fitting = -(-members // unit), (resources.memory_bytes - recorded) // least
    # Two batched blocks at a time take turns at Python's lock: 1.1 to 1.8 times slower than one.
    threads = (resources.threads or _processors()) if backend == "kernel" else 1
    at_once = min(threads, units, fitting)
    if at_once < 1:
        raise EnsembleError(
            "memory_bytes",
            resources.memory_bytes,
            f"at least {recorded + least} here, {recorded} of them for what is recorded: "
            "record less often, or train fewer members a call",
        )
    # The batched backend gains by larger stacks, the compiled one has all it needs in one.
    stack = 1 if backend == "kernel" else min(units, fitting)
    return Division(
        backend=backend,
        members=stack * unit,
        at_once=at_once,
        memory_bytes=recorded + at_once * stack * least,
    )


def _processors() -> int:
    # What this process may use, which on a shared machine is less than what there is.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def carry_out(
    plan: Plan, division: Division, resources: Resources, progress: Listener | None
) -> History:
    """Work through all blocks and return what they left."""
    sheets = Sheets.empty(plan)
    counter = _Counter(plan, division, progress)
    make = _block_maker(division.backend, resources.device)
    starts = range(0, len(plan.members), division.members)

    def work(start: int) -> None:
        rows = range(start, min(start + division.members, len(plan.members)))
        unit = LANES if division.backend == "kernel" else STACKED
        # What is missing to a full block repeats its first member, and is not looked at.
        filled = [*rows, *[start] * (-len(rows) % unit)]
        with _surroundings(division.backend):
            follow(make(plan.chosen(filled)), plan, sheets, rows, counter.tell)

    if division.at_once == 1:
        for start in starts:
            work(start)
    else:
        _in_threads(work, starts, division.at_once, counter)
    return sheets.history(plan, division.backend)


def _surroundings(backend: Backend) -> AbstractContextManager[None]:
    if backend == "kernel":
        return nullcontext()
    from headwater.lab.stacked import one_thread

    return one_thread()


class _Counter:
    """Finished member-epochs, told by any thread and reported by the calling one."""

    def __init__(self, plan: Plan, division: Division, progress: Listener | None) -> None:
        self.progress, self.done = progress, 0
        self.total = len(plan.members) * plan.training.epochs
        self.memory_bytes = division.memory_bytes
        self.message = (
            f"{len(plan.members)} members, {division.backend}, {division.members} to a block, "
            f"{division.at_once} at a time, {division.memory_bytes / 1e6:.1f} MB"
        )
        self.told: SimpleQueue[int | None] = SimpleQueue()
        self.stopped, self.caller = Event(), get_ident()
        self._say()

    def tell(self, count: int) -> None:
        """Take note of member-epochs that are done; raises where the work is given up."""
        if self.stopped.is_set():
            raise _GivenUpError
        self.told.put(count)
        if self.caller == get_ident():
            self.report()

    def report(self, *, wait: bool = False) -> bool:
        """Say what was told since the last report; return False when a block has ended."""
        while wait or not self.told.empty():
            count = self.told.get()
            if count is None:
                return False
            self.done += count
            self._say()
        return True

    def _say(self) -> None:
        if self.progress is not None:
            self.progress(
                Progress(
                    done=self.done,
                    total=self.total,
                    memory_bytes=self.memory_bytes,
                    message=self.message,
                )
            )


class _GivenUpError(Exception):
    """The calling thread was interrupted; no more work is wanted."""


def _in_threads(
    work: Callable[[int], None], starts: Iterable[int], threads: int, counter: _Counter
) -> None:
    def block(start: int) -> None:
        try:
            if not counter.stopped.is_set():
                work(start)
        except BaseException:
            counter.stopped.set()  # the other blocks are in vain
            raise
        finally:
            counter.told.put(None)

    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(block, start) for start in starts]
        try:
            for _ in running:
                while counter.report(wait=True):
                    pass
        except BaseException:
            counter.stopped.set()
            raise
    for fault in [future.exception() for future in running]:
        if fault is not None and not isinstance(fault, _GivenUpError):
            raise fault


def _backend(resources: Resources) -> Backend:
    if resources.device != "cpu":
        if resources.backend == "kernel":
            raise EnsembleError("device", resources.device, "'cpu' where the backend is 'kernel'")
        from headwater.lab.stacked import check_device

        check_device(resources.device)
        return "stacked"
    there = find_spec("numba") is not None
    if resources.backend == "kernel" and not there:
        raise MissingExtraError("numba", "lab", "backend='kernel'")
    if resources.backend == "auto":
        return "kernel" if there else "stacked"
    return resources.backend


def _block_maker(backend: Backend, device: str) -> Callable[[Plan], Block]:
    if backend == "kernel":
        from headwater.lab.compiled import CompiledBlock

        return CompiledBlock
    from headwater.lab.stacked import StackedBlock

    return lambda plan: StackedBlock(plan, device)
