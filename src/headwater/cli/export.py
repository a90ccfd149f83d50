"""``headwater export``: the record's tables for other tools."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

FORMATS = ("parquet", "csv")


def add_arguments(parser: ArgumentParser, /) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "record", metavar="RUN", nargs="?", help="the run's folder; else the newest"
    )
    parser.add_argument("--to", choices=FORMATS, required=True, help="the format to write")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="where to write; else a folder in the run's own"
    )
    parser.add_argument("--json", action="store_true", help="print the files' names as JSON")


def run(arguments: Namespace, /) -> int:
    """Write each table as a file and print the files' names."""
    from headwater.runs.export import export
    from headwater.runs.reader import Run

    record = Run.open(arguments.record) if arguments.record else Run.newest()
    out = arguments.out or record.path / arguments.to
    files = [str(path) for path in export(record, arguments.to, out)]
    print(json.dumps(files, indent=2) if arguments.json else "\n".join(files))
    return 0
