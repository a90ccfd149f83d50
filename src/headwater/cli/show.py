"""``headwater show``: findings and the annotated source in the terminal."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from rich.text import Text

    from headwater.runs.reader import Run

Shown: TypeAlias = "tuple[dict[str, Any], Iterator[Text]]"
"""The same twice: as plain data, and as lines of text."""

NARROWEST = 40


def add_arguments(parser: ArgumentParser, /) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "record", metavar="RUN", nargs="?", help="the run's folder; else the newest"
    )
    parser.add_argument("--json", action="store_true", help="the same as JSON (docs/show-json.md)")
    parser.add_argument("--step", type=int, metavar="N", help="the backward passes of this step")
    parser.add_argument("--file", metavar="F", help="only the source file of this name or path")
    parser.add_argument(
        "--parameters", action="store_true", help="list the parameters, their gradients, updates"
    )
    parser.add_argument(
        "--ledger", metavar="PARAMETER", help="the account of one parameter, from the loss on"
    )
    parser.add_argument(
        "--rows",
        type=int,
        default=40,
        metavar="N",
        help="rows under a line before they are folded by module; 0 for no limit (default 40)",
    )
    parser.add_argument(
        "--width", type=_width, metavar="N", help="columns; else the terminal's, or 80"
    )
    parser.add_argument(
        "--color", choices=("auto", "always", "never"), default="auto", help="(default auto)"
    )


def _width(text: str) -> int:
    if not text.isdecimal() or int(text) < NARROWEST:
        raise ArgumentTypeError(f"it takes a whole number from {NARROWEST} on, got {text!r}")
    return int(text)


def run(arguments: Namespace, /) -> int:
    """Print the report, or the account of one parameter."""
    import json
    import sys

    from headwater.reports.output import rendered, screen_width
    from headwater.runs.reader import Run

    record = Run.open(arguments.record) if arguments.record else Run.newest()
    width = arguments.width or screen_width(sys.stdout)
    shown = _account if arguments.ledger else _report
    data, lines = shown(record, arguments, width)
    if arguments.json:
        print(json.dumps(data, indent=2))
    else:
        sys.stdout.write(rendered(lines, color=arguments.color, file=sys.stdout))
    return 0


def _account(record: Run, arguments: Namespace, width: int) -> Shown:
    from headwater.reports.accounts import account
    from headwater.reports.tables import account_lines

    told = account(record, arguments.ledger, arguments.step)
    return told.to_json(), account_lines(told, width)


def _report(record: Run, arguments: Namespace, width: int) -> Shown:
    import time

    from headwater.reports.annotate import home_folders
    from headwater.reports.assemble import assemble
    from headwater.reports.screen import report_lines
    from headwater.rules import judge

    report = assemble(
        record,
        judge(record),
        now=time.time(),
        step=arguments.step,
        file=arguments.file,
        most_rows=arguments.rows,
    )
    folders = home_folders(record.info)
    return report.to_json(), report_lines(report, width, folders, arguments.parameters)
