"""Who measures the blocks: this process, processes beside it, or a Ray cluster.

A block's result depends on its settings and seeds only, so it is the same bit for bit whoever
measured it (on one kind of machine), and may be measured again when a worker dies.
"""

from __future__ import annotations

import logging
import multiprocessing
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from headwater.errors import MissingExtraError, UsageError
from headwater.lab.rows import Array, Tables

RETRIES = 3  # of a block whose Ray worker died
CONNECT_S = 5.0  # seconds that a cluster's address has to answer


@dataclass(frozen=True, kw_only=True)
class Task:
    """A block to be measured."""

    measure: Callable[[Any, Array], Tables]
    settings: Any
    block: range

    def __call__(self) -> Tables:
        """Measure it."""
        return self.measure(self.settings, np.array(self.block, dtype=np.int64))


class WorkerDiedError(Exception):
    """A process that measured a block ended without a result."""


class Workers(Protocol):
    """Measures tasks and hands out each result as it comes."""

    def results(self, tasks: Sequence[Task], /) -> Iterator[tuple[range, Tables]]:
        """Go through blocks and their tables, in the order in which they finish.

        Raises:
            WorkerDiedError: A process died, and trying again did not help.
        """
        ...


class Here:
    """This process, one block after another."""

    def results(self, tasks: Sequence[Task], /) -> Iterator[tuple[range, Tables]]:
        """See :class:`Workers`."""
        for task in tasks:
            yield task.block, task()


@dataclass(frozen=True, kw_only=True)
class Processes:
    """Processes beside this one; they are started, not forked, so threads do no harm."""

    jobs: int

    def results(self, tasks: Sequence[Task], /) -> Iterator[tuple[range, Tables]]:
        """See :class:`Workers`."""
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(self.jobs, len(tasks)), mp_context=context) as pool:
            futures = {pool.submit(task): task.block for task in tasks}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            except BrokenProcessPool as error:
                raise WorkerDiedError("a process that measured died (of memory?)") from error
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


class Ray:
    """Tasks of a Ray cluster; every machine of it needs headwater installed.

    Args:
        address: Of the cluster, as ``ray.init`` takes it; empty for the one that ``RAY_ADDRESS``
            names, or else a new one on this machine.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: No cluster answers there.
    """

    def __init__(self, address: str = "") -> None:
        try:
            import ray
        except ImportError as error:
            raise MissingExtraError("ray", "ray", "a cluster") from error
        self._ray = ray
        if ray.is_initialized():
            return
        _refuse_silence(address)
        try:
            ray.init(address=address or None, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise _no_cluster(address, str(error).splitlines()[0]) from error

    def results(self, tasks: Sequence[Task], /) -> Iterator[tuple[range, Tables]]:
        """See :class:`Workers`."""
        ray = self._ray
        remote = ray.remote(num_cpus=1, max_retries=RETRIES)(_measured)
        waiting = {remote.remote(task): task.block for task in tasks}
        try:
            while waiting:
                ready, _ = ray.wait(list(waiting), num_returns=1)
                block = waiting.pop(ready[0])
                yield block, self._got(ready[0])
        finally:
            for left in waiting:
                ray.cancel(left, force=True)

    def _got(self, reference: Any) -> Tables:
        exceptions = self._ray.exceptions
        try:
            tables: Tables = self._ray.get(reference)
        except exceptions.RayTaskError as error:
            raise error.cause from error  # what the measuring raised, as it would be raised here
        except exceptions.RayError as error:
            raise WorkerDiedError(f"Ray: {str(error).splitlines()[0]}") from error
        return tables


def _refuse_silence(address: str) -> None:
    """Look whether anything listens there: Ray itself tries for minutes, and then ends us."""
    match = re.fullmatch(r"(?:ray://)?(.+):(\d+)", address)
    if match is None:
        return  # "auto", or a name that Ray knows
    try:
        socket.create_connection((match[1], int(match[2])), timeout=CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, str(error)) from error


def _no_cluster(address: str, why: str) -> UsageError:
    return UsageError(
        f"no Ray cluster at {address!r}: {why}; "
        "`ray start --head` makes one, --ray alone uses this machine"
    )


def _measured(task: Task) -> Tables:
    return task()
