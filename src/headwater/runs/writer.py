"""Writing a record so that a kill at any moment leaves one that reads."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.errors import RunExistsError
from headwater.records import Fault
from headwater.runs.atomic import overwrite_json, replace_json
from headwater.runs.info import RunInfo

if TYPE_CHECKING:
    import pyarrow as pa

    from headwater.runs.schema import TableName

BINARY: int = getattr(os, "O_BINARY", 0)  # Windows would turn bytes of 10 into two
LAST_WORDS = 512
"""Blanks at the end of ``run.json``: a full disk still has room there to say that it was full."""
RECORD_FILES = ("run.json", "pulse.arrow", "parameters.arrow", "sites.arrow")


class RunWriter:
    """Writes one run's folder; every method may be called from any thread.

    A table's file is opened for each batch and closed again: batches are seconds apart, and a
    script that closes or reuses descriptors it did not open must not redirect the record. A
    process forked from the writer's own writes nothing: the record is its parent's.

    Example:
        >>> import tempfile
        >>> from headwater.runs.reader import Run
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     writer = RunWriter(folder)
        ...     writer.write_info(RunInfo(seed=7))
        ...     writer.append("pulse", {"step": [0, 1], "loss": [0.7, 0.5]})
        ...     writer.close()
        ...     Run.open(folder).pulse["loss"].to_pylist()
        [0.7, 0.5]
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Create ``folder``.

        Raises:
            RunExistsError: It already holds a run.
            OSError: It cannot be created.
        """
        self.folder = Path(folder).absolute()  # the script may change its directory
        self.folder.mkdir(parents=True, exist_ok=True)
        if any((self.folder / name).exists() for name in RECORD_FILES):
            raise RunExistsError(str(folder))
        try:  # of two processes that were given one folder, one has it
            with (self.folder / "run.json").open("x", encoding="ascii") as file:
                file.write("{}")
        except FileExistsError:
            raise RunExistsError(str(folder)) from None
        self._process = os.getpid()
        self._lock = threading.RLock()  # a signal handler may flush in the middle of a flush
        self._written: dict[TableName, int] = {}
        self._closed = False

    def write_info(self, info: RunInfo) -> None:
        """Replace ``run.json``, atomically.

        Raises:
            OSError: It cannot be written; the ``run.json`` before it still stands.
        """
        if not self._own():
            return
        with self._lock:
            self._check_open()
            replace_json(self.folder / "run.json", info.to_json(), spare=LAST_WORDS)

    def amend_info(self, info: RunInfo) -> None:
        """Replace ``run.json`` even on a full disk, by an ``info`` little longer than the last.

        Raises:
            OSError: It cannot be written for another reason, or has grown by too much.
        """
        try:
            self.write_info(info)
        except OSError:
            with self._lock:
                overwrite_json(self.folder / "run.json", info.to_json())

    def append(self, table: TableName, columns: Mapping[str, Sequence[Any]]) -> None:
        """Add rows to a table as one record batch, in one write; columns left out are null.

        Raises:
            OSError: It cannot be written; the table reads up to the batch before.
            ValueError: A column that the table does not have, or columns of unequal length.
        """
        if not self._own():
            return
        with self._lock:
            self._check_open()
            self._write(table, _batch(table, columns))

    def close(self) -> None:
        """End the record; nothing can be written after it."""
        if self._own():
            with self._lock:
                self._closed = True

    def _own(self) -> bool:
        # Compared before the lock is touched: a fork copies a lock that another thread may hold.
        return os.getpid() == self._process

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError(f"the record in {self.folder} is closed; open a new RunWriter")

    def _write(self, table: TableName, batch: pa.RecordBatch) -> None:
        if batch.num_rows == 0:
            return
        first = table not in self._written
        message = bytes(batch.serialize())
        if first:
            message = bytes(batch.schema.serialize()) + message
        # Only the first write may create: a folder removed during the run is an error, not a
        # table without a schema.
        flags = os.O_WRONLY | os.O_APPEND | BINARY | (os.O_CREAT if first else 0)
        end = self._written.get(table, 0)
        file = os.open(self.folder / f"{table}.arrow", flags, 0o666)
        try:
            _write_whole(file, message)
            self._written[table] = end + len(message)
        except BaseException:
            # Half a batch would hide every batch after it.
            with suppress(OSError):
                os.ftruncate(file, end)
            raise
        finally:
            os.close(file)


def write_findings(folder: str | os.PathLike[str], findings: Sequence[Mapping[str, Any]]) -> None:
    """Replace ``findings.json`` of the run in ``folder``, atomically.

    Raises:
        OSError: It cannot be written; the ``findings.json`` before it still stands.
    """
    replace_json(Path(folder) / "findings.json", list(findings))


def add_fault(folder: str | os.PathLike[str], info: RunInfo, fault: Fault) -> None:
    """Put a fault that was told afterwards before the others in ``run.json``, atomically.

    Raises:
        OSError: It cannot be written; the ``run.json`` before it still stands.
    """
    told = replace(info, faults=(fault, *info.faults))
    replace_json(Path(folder) / "run.json", told.to_json(), spare=LAST_WORDS)


def _batch(table: TableName, columns: Mapping[str, Sequence[Any]]) -> pa.RecordBatch:
    # Imported at the first flush: pyarrow takes a tenth of a second, a start-up should not.
    import pyarrow as pa

    from headwater.runs.schema import SCHEMAS

    wanted = SCHEMAS[table]
    unknown = sorted(set(columns) - set(wanted.names))
    if unknown:
        raise ValueError(f"table {table!r} has no column {unknown[0]!r}; it has {wanted.names}")
    rows = max((len(column) for column in columns.values()), default=0)
    arrays = [
        pa.array(columns[field.name], type=field.type, from_pandas=False)
        if field.name in columns
        else pa.nulls(rows, field.type)
        for field in wanted
    ]
    if any(len(array) != rows for array in arrays):
        lengths = {name: len(column) for name, column in columns.items()}
        raise ValueError(f"columns of table {table!r} differ in length: {lengths}")
    return pa.RecordBatch.from_arrays(arrays, schema=wanted)


def _write_whole(file: int, message: bytes) -> None:
    left = memoryview(message)
    while left:
        left = left[os.write(file, left) :]
