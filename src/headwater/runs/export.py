"""Handing a record on to other tools: one file a table, each readable on its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from headwater.errors import UsageError
from headwater.records import Site
from headwater.runs.info import plain
from headwater.runs.reader import Run
from headwater.runs.schema import TableName

Format = Literal["parquet", "csv"]
FORMATS: tuple[Format, ...] = get_args(Format)

SITE_COLUMNS = ("operation", "kind", "module", "function", "file", "line", "user_file", "user_line")


def export(run: Run, to: str, out: Path) -> list[Path]:
    """Write every table of ``run`` into the folder ``out`` and return the files.

    Sites and parameters stand in each row by name as well as by number. Lists stay lists in
    parquet, where the order of ``gradient_norms`` is named in the file's metadata under
    ``parameters``; in csv they become JSON text.

    Raises:
        UsageError: ``to`` is not a known format, or ``out`` cannot be written.
        UnreadableRunError: A table of the run cannot be read.
    """
    if to not in FORMATS:
        raise UsageError(f"cannot export to {to!r}; formats are {', '.join(FORMATS)}")
    written = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, table in joined(run).items():
            path = out / f"{name}.{to}"
            if to == "parquet":
                pa.parquet.write_table(table, path)
            else:
                pa.csv.write_csv(_lists_as_text(table), path)
            written.append(path)
    except OSError as error:
        raise UsageError(f"cannot write to {str(out)!r}: {error.strerror or error}") from error
    return written


def joined(run: Run) -> dict[TableName, pa.Table]:
    """Return the tables with the names that their index columns stand for."""
    names = [parameter.name for parameter in run.parameters]
    metadata = {"parameters": json.dumps(names)}
    return {
        "pulse": run.pulse.replace_schema_metadata(metadata),
        "parameters": _with_name(run.parameter_rows, names),
        "sites": _with_sites(_with_name(run.site_rows, names), run.sites),
    }


def _with_name(table: pa.Table, names: Sequence[str]) -> pa.Table:
    column = pa.array(names, pa.string()).take(table["parameter"])
    at = table.column_names.index("parameter") + 1
    return table.add_column(at, "parameter_name", column)


def _with_sites(table: pa.Table, sites: Sequence[Site]) -> pa.Table:
    at = table.column_names.index("site") + 1
    for offset, name in enumerate(SITE_COLUMNS):
        kind = pa.int64() if name.endswith("line") else pa.string()
        values = pa.array([getattr(site, name) for site in sites], kind)
        table = table.add_column(at + offset, name, values.take(table["site"]))
    return table


def _lists_as_text(table: pa.Table) -> pa.Table:
    for index, field in enumerate(table.schema):
        if pa.types.is_list(field.type):
            rows = table[index].to_pylist()
            text = [None if row is None else json.dumps(plain(row)) for row in rows]
            table = table.set_column(index, field.name, pa.array(text, pa.string()))
    return table
