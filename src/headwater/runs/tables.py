"""Reading an append-only Arrow stream up to its last whole batch."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from headwater.errors import UnreadableRunError
from headwater.runs.schema import SCHEMAS, TableName


def read_table(folder: Path, name: TableName) -> tuple[pa.Table, bool]:
    """Return a table as the schema has it, and whether its file ends in the middle of a batch.

    Rows are those of the whole batches before the first byte that makes no sense. An absent
    table, or one cut in its first message, has no rows; columns that an older writer did not
    know are null.

    Raises:
        UnreadableRunError: The file is there and cannot be read, or a column has another type
            than the schema's.
    """
    path = folder / f"{name}.arrow"
    # Read, not mapped: the writer shortens the file if the disk fills, which would be a bus error.
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise UnreadableRunError(str(folder), f"{path.name}: {error.strerror}") from error
    batches, whole = _batches(content)
    wanted = SCHEMAS[name]
    if not batches:
        return wanted.empty_table(), not whole
    try:
        return _conform(pa.Table.from_batches(batches), wanted), not whole
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise UnreadableRunError(str(folder), f"{path.name}: {error}") from error


def _batches(content: bytes) -> tuple[list[pa.RecordBatch], bool]:
    """Return the whole batches, and whether nothing stands after them."""
    batches: list[pa.RecordBatch] = []
    source = pa.BufferReader(content)
    try:
        with pa.ipc.open_stream(source) as stream:
            for batch in stream:
                batch.validate(full=True)
                batches.append(batch)
    except (pa.ArrowException, OSError, ValueError):
        return batches, not content
    # Bytes that look like the end of a stream stop the reader without an error.
    return batches, source.tell() == len(content)


def _conform(table: pa.Table, wanted: pa.Schema) -> pa.Table:
    columns = [
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in wanted
    ]
    return pa.table(columns, schema=wanted)
