"""The user's source with what the gradient meets on each line."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from headwater.records import SEVERITIES, Finding, Severity, Site
from headwater.reports.folding import Place, fold
from headwater.reports.measures import NEGLIGIBLE, Network, measure
from headwater.reports.passes import Pass
from headwater.reports.rows import rows_of_lines
from headwater.reports.view import Line, Row, Source

if TYPE_CHECKING:
    from headwater.runs.info import RunInfo

Spot = tuple[str, int]
"""A file and a line in it; ("", 0) where no line is known."""


def spot(site: Site) -> Spot:
    """Return the user's line that a site belongs to; a library's own where no user's is known.

    Example:
        >>> spot(Site(operation="gelu", kind="activation", file="timm/mlp.py", line=9,
        ...     user_file="train.py", user_line=40))
        ('train.py', 40)
    """
    if site.user_file and site.user_line:
        return site.user_file, site.user_line
    return (site.file, site.line) if site.file and site.line else ("", 0)


def annotate(
    flow: Pass,
    network: Network,
    *,
    texts: Mapping[str, str],
    folders: Sequence[str],
    findings: Collection[Finding] = (),
    most_rows: int = 40,
) -> tuple[Source, ...]:
    """Return the annotated files of a backward pass, the one with most operations first.

    Args:
        flow: The backward pass.
        network: The run's sites and modules.
        texts: Source by file; a file that is not there is shown without its text.
        folders: Paths below them are shown relative to them.
        findings: Their lines are marked.
        most_rows: A line with more operations has them folded by module.
    """
    spots = [spot(network.sites[index]) for index in flow.site]
    places = fold(flow, spots)
    rows = rows_of_lines(flow, network, spots, most_rows)
    marks = _marks(findings)
    lines: dict[str, list[Line]] = {}
    for (file, number), place in places.items():
        line = _line(flow, place, network, number, rows[file, number])
        codes, severity = marks.get((file, number), ((), None))
        lines.setdefault(file, []).append(replace(line, codes=codes, severity=severity))
    return tuple(
        Source(
            file=file,
            shown_as=short_path(file, folders) if file else "(line not known)",
            lines=with_context(lines[file], texts.get(file)),
        )
        for file in sorted(lines, key=lambda file: (not file, -_operations(lines[file]), file))
    )


def _operations(lines: Iterable[Line]) -> int:
    return sum(line.measure.operations for line in lines if line.measure)


def _line(flow: Pass, place: Place, network: Network, number: int, rows: tuple[Row, ...]) -> Line:
    told = tuple(row for row in rows if _tells(row))
    return Line(
        number=number, text=None, measure=measure(flow, place, network), rows=told or rows[:1]
    )


def _tells(row: Row) -> bool:
    """Leave out views, and sums whose branches meet elsewhere: nothing happens there."""
    total = row.measure.total
    passive = set(row.measure.kinds) <= {"shape", "junction"}
    return not passive or (total is not None and not abs(total) < NEGLIGIBLE)  # true for nan


def _marks(findings: Iterable[Finding]) -> dict[Spot, tuple[tuple[str, ...], Severity]]:
    marks: dict[Spot, tuple[tuple[str, ...], Severity]] = {}
    for finding in findings:
        for where in finding.where:
            codes, severity = marks.get((where.file, where.line), ((), finding.severity))
            if finding.code not in codes:
                codes += (finding.code,)
            worst = max(severity, finding.severity, key=SEVERITIES.index)
            marks[where.file, where.line] = codes, worst
    return marks


def short_path(file: str, folders: Sequence[str]) -> str:
    """Return ``file`` relative to the first of ``folders`` that it lies below.

    Example:
        >>> short_path("/a/nets/net.py", ["/c", "/a"]), short_path("/a/b.py", ["/c"])
        ('nets/net.py', '/a/b.py')
    """
    path = PurePath(file)
    for folder in folders:
        if folder and path.is_relative_to(folder):
            return str(path.relative_to(folder))
    return file


def home_folders(info: RunInfo) -> tuple[str, ...]:
    """Return the folders below which paths are shown short: where the run started, its script's."""
    return info.directory, str(PurePath(info.script).parent) if info.script else ""


def with_context(lines: Iterable[Line], text: str | None) -> tuple[Line, ...]:
    r"""Fill in the text, and add neighbours and the enclosing ``def`` and ``class`` lines.

    Example:
        >>> text = "class Net:\n    def forward(self, x):\n        y = x\n        return y\n"
        >>> [line.number for line in with_context([Line(number=4, text=None)], text)]
        [1, 2, 3, 4]
    """
    measured = {line.number: line for line in lines}
    if text is None:
        return tuple(measured[number] for number in sorted(measured))
    source = text.splitlines()
    wanted = set(measured)
    for number in measured:
        wanted.update((number - 1, number + 1))
    wanted.update(_headers(text, measured))
    shown = []
    for number in sorted(wanted):
        own = source[number - 1] if 0 < number <= len(source) else None
        if number in measured:
            shown.append(replace(measured[number], text=own))
        elif own is not None and own.strip():
            shown.append(Line(number=number, text=own))
    return tuple(shown)


def _headers(text: str, numbers: Collection[int]) -> set[int]:
    """Return the lines of the ``def`` and ``class`` statements around the given lines."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    blocks = [
        (node.lineno, node.end_lineno or node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    ]
    return {first for first, last in blocks if any(first < number <= last for number in numbers)}


def read_texts(files: Iterable[str], recorded: Mapping[str, str]) -> dict[str, str]:
    """Return the text of each file: as recorded, else from disk if it is still there."""
    texts = {}
    for file in files:
        if file in recorded:
            texts[file] = recorded[file]
        elif file:
            try:
                texts[file] = Path(file).read_text(encoding="utf-8")
            except (OSError, ValueError):
                continue
    return texts
