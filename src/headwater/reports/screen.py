"""The report as lines of styled text; nothing here measures or judges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import PurePath

from rich.cells import cell_len
from rich.text import Text

from headwater.records import SEVERITIES, Cause, Finding, Severity, Verdict, Where
from headwater.reports.annotate import short_path
from headwater.reports.cells import clean, fit, fit_line, listed, pad, paragraph, wrapped
from headwater.reports.columns import Columns, columns, source_text
from headwater.reports.numbers import share
from headwater.reports.precision import expression_lines, precision_lines
from headwater.reports.tables import parameter_lines
from headwater.reports.view import Flow, Head, Line, Report, Row, Source

MARKS: dict[Severity, str] = {"error": "✗", "warning": "!", "info": "i"}
STYLES: dict[Severity, str] = {"error": "bold red", "warning": "bold yellow", "info": "cyan"}

MOST_PLACES = 3
"""Places named for one finding; the annotated source marks them all."""


def report_lines(
    report: Report,
    width: int,
    folders: Sequence[str] = (),
    parameters: bool = False,
    formats: bool = True,
) -> Iterator[Text]:
    """Return the head, the findings, the annotated source, formats, expressions and notes."""
    yield from head_lines(report.head, width)
    yield Text()
    yield from verdict_lines(report.verdicts, width, folders)
    for index, flow in enumerate(report.flows):
        yield Text()
        yield from flow_lines(flow, width, explain=index == 0)
    if not report.flows:
        yield Text()
        yield from paragraph(_nothing(report.head), width)
    if parameters and report.parameters:
        yield Text()
        yield from parameter_lines(report.parameters, width)
    if formats and report.precision is not None:
        yield Text()
        yield from precision_lines(report.precision, width)
    if report.expressions:
        yield Text()
        yield from expression_lines(report.expressions, width, folders)
    if report.notes:
        yield Text()
        yield Text("notes", style="bold")
        for note in report.notes:
            yield from paragraph(f"· {note}", width, indent=2, hang=4)


def head_lines(head: Head, width: int) -> Iterator[Text]:
    """Return what ran, how it went, and what is missing from the record."""
    when = _when(head.started)
    title = Text(pad(clean(head.command), width - len(when) - 1), style="bold")
    title.append(f" {when}", "not bold dim")
    title.rstrip()
    yield title
    samples = "1 sample" if head.samples == 1 else f"{head.samples} samples"
    steps = "1 step" if head.steps == 1 else f"{head.steps:,} steps"
    overhead = "" if head.overhead is None else f"overhead {head.overhead:.1%}"
    first, last = (_loss(value) for value in (head.first_loss, head.last_loss))
    loss = f"loss {first} → {last}" if first and last else ""
    device = ", ".join(head.device)
    style = "" if head.state == "finished" else "yellow"
    ending = head.ending
    if head.state == "failed":  # the words of an exception want lines of their own
        yield from paragraph(ending, width, style=style)
        ending = ""
    facts = [ending, steps, loss, samples, overhead, device]
    for line in listed([clean(fact) for fact in facts if fact], width, " · "):
        yield Text(line, style=style)
    for alert in head.alerts:
        yield from paragraph(f"! {alert}", width, hang=2, style="yellow")


def _loss(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _when(started: str | None) -> str:
    try:
        return f"{datetime.fromisoformat(started or ''):%Y-%m-%d %H:%M}"
    except ValueError:
        return ""


def _nothing(head: Head) -> str:
    if head.steps == 0:
        return (
            "No backward pass was seen, so there is nothing to annotate. Headwater observes "
            "torch's loss.backward(); a script that ends before the first one leaves nothing."
        )
    return (
        f"No step of {head.steps:,} was sampled, so there is no ledger to annotate the source "
        "with. `headwater run --every 1` samples every step."
    )


def verdict_lines(
    verdicts: Iterable[Verdict], width: int, folders: Sequence[str] = ()
) -> Iterator[Text]:
    r"""Return the findings, worst first as they come, then what is healthy and what cannot be said.

    Example:
        >>> healthy = Verdict(code="HW101", symptom="vanishing-gradient", answer="healthy")
        >>> print(*verdict_lines([healthy], 80), sep="\n")
        healthy: nothing found
          healthy     HW101 vanishing-gradient
    """
    verdicts = list(verdicts)
    if not verdicts:
        yield Text("not judged", style="dim")
        return
    wrong = [finding for verdict in verdicts for finding in verdict.findings]
    for finding in sorted(wrong, key=lambda finding: -SEVERITIES.index(finding.severity)):
        yield from finding_lines(finding, width, folders)
        yield Text()
    healthy = [clean(f"{v.code} {v.symptom}") for v in verdicts if v.answer == "healthy"]
    if healthy and not wrong:
        yield Text("healthy: nothing found", style="bold green")
    elif not wrong:
        yield Text("nothing found, but nothing could be judged either", style="bold")
    if healthy:
        filled = listed(healthy, width - 14, ", ")
        for label, line in zip(["healthy", *[""] * len(filled)], filled, strict=False):
            yield Text.assemble("  ", (pad(label, 12), "dim"), line)
    for verdict in verdicts:
        if verdict.answer == "cannot say":
            said = f"{verdict.code} {verdict.symptom}: {verdict.reason or 'no reason given'}"
            yield from _labelled("cannot say", said, width, room=12)


def finding_lines(finding: Finding, width: int, folders: Sequence[str] = ()) -> Iterator[Text]:
    """Return one finding: what, since when, where, why, and what to try."""
    style = STYLES[finding.severity]
    title = Text.assemble(
        (clean(f"{MARKS[finding.severity]} {finding.code} {finding.symptom}"), style),
        (f"  {finding.severity}, since step {finding.first_step}, ", "dim"),
        (f"confidence {finding.confidence:.0%}", "dim"),
    )
    yield fit_line(title, width)
    yield from paragraph(finding.message, width, indent=2)
    places = list(dict.fromkeys(_place(where, folders) for where in finding.where))
    for label, place in zip(["where", "", ""], places[:MOST_PLACES], strict=False):
        yield _label(label, Text(fit(place, width - 9, keep="end")))
    if len(places) > MOST_PLACES:
        yield _label("", Text(f"and {len(places) - MOST_PLACES} more", style="dim"))
    for label, cause in zip(["why", *[""] * len(finding.causes)], finding.causes, strict=False):
        yield from _labelled(label, _why(cause), width)
    if finding.remedies:
        yield from _labelled("try", ", ".join(finding.remedies), width)


def _place(where: Where, folders: Sequence[str]) -> str:
    line = f":{where.line}" if where.line else ""
    file = short_path(where.file, folders) + line if where.file else ""
    return clean("  ".join(part for part in (file, where.parameter or where.module) if part))


def _why(cause: Cause) -> str:
    evidence = f": {cause.evidence}" if cause.evidence else ""
    return f"{share(cause.share)} {cause.cause}{evidence}"


def _label(label: str, text: Text) -> Text:
    return Text.assemble("  ", (pad(label, 7), "dim"), text)


def _labelled(label: str, text: str, width: int, room: int = 7) -> Iterator[Text]:
    for index, line in enumerate(wrapped(text, width - room - 2)):
        yield Text.assemble("  ", (pad(label if index == 0 else "", room), "dim"), line)


def flow_lines(flow: Flow, width: int, *, explain: bool = True) -> Iterator[Text]:
    """Return the annotated source of one backward pass."""
    table = columns(flow, width)
    alike = f"; {flow.alike} such passes were recorded" if flow.alike > 1 else ""
    which = f" backward pass {flow.backward}" if flow.backward else ""
    yield Text(fit(f"step {flow.step}{which}: {clean(flow.title)}", width), style="bold")
    said = f"{flow.operations:,} operations{alike}."
    if explain:
        said += (
            " The bars are the gradient's norm, in decades below or above the loss's own; "
            "the gradient flows up the page, from the loss to the input."
        )
    yield from paragraph(said, width, style="dim")
    if flow.not_finite is not None:
        said = f"! Newer samples, up to step {flow.not_finite}, have no finite gradient at all; "
        said += f"--step {flow.not_finite} shows that one."
        yield from paragraph(said, width, hang=2, style="yellow")
    for source in flow.sources:
        yield Text()
        yield Text(fit(clean(source.shown_as), width, keep="end"), style="bold underline")
        yield Text(table.heading(), style="dim")
        yield from _source_lines(source, table)


def _source_lines(source: Source, table: Columns) -> Iterator[Text]:
    before = 0
    for line in source.lines:
        if before and line.number > before + 1:
            yield Text(pad("⋮", table.number + 1, align="right"), style="dim")
        yield _line(line, table)
        if _needs_rows(line):
            for index, row in enumerate(line.rows):
                yield _row(row, table, last=index == len(line.rows) - 1)
        before = line.number


def _needs_rows(line: Line) -> bool:
    """Two operations fit on the line itself; more, or a library's, get a row each."""
    return len(line.rows) > 2 or not line.number or any(row.file for row in line.rows)


def _line(line: Line, table: Columns) -> Text:
    mark, mark_style = (MARKS[line.severity], STYLES[line.severity]) if line.severity else ("", "")
    number = str(line.number) if line.number else "?"
    style = "" if line.measure else "dim"
    text = line.text if line.number else "(no line known)"
    source = source_text(text, table.source, style=style)
    codes = " ".join(line.codes)
    if codes and cell_len(source.plain) + len(codes) + 2 <= table.source:
        source.append(f"  {codes}", STYLES[line.severity or "info"])
    return table.line(number, line.measure, source, mark=mark, mark_style=mark_style)


def _row(row: Row, table: Columns, *, last: bool) -> Text:
    text = Text().append("  └ " if last else "  ├ ", "dim")
    module, operation = clean(row.module), clean(row.operation)
    if not module and not operation:
        module = "(the network itself)"
    text.append(fit(module, table.source - 4, keep="end"), "cyan")
    left = table.source - text.cell_len - 1
    if operation and left >= 4:
        text.append((" " if module else "") + fit(operation, left))
    where = f"  {clean(PurePath(row.file).name)}:{row.line}" if row.file else ""
    if cell_len(where) <= table.source - text.cell_len:
        text.append(where, "dim")
    return table.line("", row.measure, text)
