"""From a run and its verdicts to the report: one place that decides what is shown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from headwater.errors import NotRecordedError
from headwater.records import Finding, Verdict
from headwater.reports.annotate import annotate, home_folders, read_texts, spot
from headwater.reports.choices import Choice, choose
from headwater.reports.heads import head, notes
from headwater.reports.measures import Network
from headwater.reports.parameters import parameter_rows
from headwater.reports.passes import read
from headwater.reports.precision import expressions, precision
from headwater.reports.view import Flow, Measure, Report, Source

if TYPE_CHECKING:
    from headwater.runs.reader import Run

NARROWEST = 6.0
"""A bar spans at least so many decades, or a healthy network's small changes would look large."""

MOST_FLOWS = 6


def assemble(
    run: Run,
    verdicts: Sequence[Verdict] = (),
    *,
    now: float,
    step: int | None = None,
    file: str | None = None,
    most_rows: int = 40,
) -> Report:
    """Return all that is shown of a run.

    Args:
        run: The run.
        verdicts: What the rules say of it.
        now: Seconds since the epoch; tells a run that still goes on from a killed one.
        step: Show the backward passes of this step; of the newest of each graph if None.
        file: Show only source files whose path ends in this.
        most_rows: Rows under one line, and parameters, before they are folded; 0 for no limit.

    Raises:
        NotRecordedError: The step was not sampled, or no site stands in such a file.
    """
    files = {spot(site)[0] for site in run.sites} - {""}
    _check(run, step, file, files)
    texts = read_texts(files, run.info.sources)
    marked = [finding for verdict in verdicts for finding in verdict.findings]
    choices = choose(run, step)
    flows = [
        _flow(run, choice, texts, _sources(run, choice, texts, marked, most_rows), file)
        for choice in choices[-MOST_FLOWS:]
    ]
    older = len(choices) - len(flows)
    said = (f"{older} older kinds of backward pass are not shown",) if older else ()
    return Report(
        head=head(run, now=now),
        verdicts=tuple(verdicts),
        flows=tuple(flow for flow in flows if flow.sources),
        parameters=parameter_rows(run, step, most_rows),
        precision=precision(run, step),
        expressions=expressions(run),
        notes=said + notes(run, _changed(run, set(texts) - set(run.info.sources))),
    )


def _sources(
    run: Run,
    choice: Choice,
    texts: Mapping[str, str],
    findings: Sequence[Finding],
    most_rows: int,
) -> tuple[Source, ...]:
    network = Network.of(run.sites, run.info.modules)
    return annotate(
        read(run, choice.step, choice.backward),
        network,
        texts=texts,
        folders=home_folders(run.info),
        findings=findings,
        most_rows=most_rows,
    )


def _check(run: Run, step: int | None, file: str | None, files: set[str]) -> None:
    if step is not None and step not in run.sampled_steps:
        has = ", ".join(map(str, run.sampled_steps)) or "none"
        raise NotRecordedError(f"ledger of step {step}", f"sampled steps are {has}")
    if file is not None and not any(_matches(path, file) for path in files):
        names = sorted({PurePath(path).name for path in files})
        has = ", ".join(names[:8]) or "none"
        raise NotRecordedError(f"operation in a file {file!r}", f"files with operations: {has}")


def _matches(path: str, wanted: str) -> bool:
    parts, tail = PurePath(path).parts, PurePath(wanted).parts
    return bool(tail) and parts[-len(tail) :] == tail


def _flow(
    run: Run,
    choice: Choice,
    texts: Mapping[str, str],
    sources: Sequence[Source],
    file: str | None,
) -> Flow:
    shown = tuple(source for source in sources if file is None or _matches(source.file, file))
    low, high = _span(sources)
    return Flow(
        title=_title(run, choice, texts),
        step=choice.step,
        backward=choice.backward,
        alike=choice.alike,
        operations=sum(measure.operations for measure in _of_lines(sources)),
        low=low,
        high=high,
        deepest=min(_levels(sources), default=None),
        not_finite=choice.not_finite,
        sources=shown,
    )


def _of_lines(sources: Iterable[Source]) -> list[Measure]:
    return [line.measure for source in sources for line in source.lines if line.measure]


def _levels(sources: Sequence[Source]) -> list[float]:
    """Return every level shown, but for those that are not finite."""
    rows = [row.measure for source in sources for line in source.lines for row in line.rows]
    return [
        level
        for measure in (*_of_lines(sources), *rows)
        for level in (measure.level_in, measure.level_out)
        if level is not None and math.isfinite(level)
    ]


def _span(sources: Sequence[Source]) -> tuple[float, float]:
    """Return the ends of the bars: whole decades, the loss's 0 among them.

    Example:
        >>> _span(())
        (-6.0, 0.0)
    """
    levels = [0.0, *_levels(sources)]
    high = math.ceil(max(levels))
    low = min(math.floor(min(levels)), high - NARROWEST)
    return float(low), float(high)


def _title(run: Run, choice: Choice, texts: Mapping[str, str]) -> str:
    """Name a backward pass by its loss, and by its optimiser where there are several."""
    file, line = spot(run.sites[choice.root])
    where = f"{PurePath(file).name}:{line}" if line else "an unknown line"
    lines = texts.get(file, "").splitlines()
    code = lines[line - 1].strip() if 0 < line <= len(lines) else ""
    optimiser = ""
    if len(run.info.optimisers) > 1 and choice.optimiser is not None:
        optimiser = f"optimiser {choice.optimiser}, "
        if choice.optimiser < len(run.info.optimisers):
            optimiser += f"{run.info.optimisers[choice.optimiser].type}, "
    return f"{optimiser}loss at {where}" + (f"  {code}" if code else "")


def _changed(run: Run, files: set[str]) -> list[str]:
    """Return which files on disk are newer than the run."""
    try:
        started = datetime.fromisoformat(str(run.info.started)).timestamp()
    except ValueError:
        return []
    changed = []
    for file in sorted(files):
        try:
            if Path(file).stat().st_mtime > started:
                changed.append(file)
        except OSError:
            continue
    return changed
