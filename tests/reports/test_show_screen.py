"""The text: never wider than asked, safe for any terminal, the same figures as the data."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_up
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text

from headwater.records import KINDS, Cause, Finding, Verdict, Where
from headwater.reports.assemble import assemble
from headwater.reports.bars import Scale, bar
from headwater.reports.output import rendered, screen_width
from headwater.reports.screen import report_lines
from headwater.reports.tables import parameter_lines
from headwater.reports.view import Flow, Head, Line, Measure, ParameterRow, Report, Row, Source

SCALE = Scale(low=-6.0, high=0.0, width=12)

HEAD = Head(
    run="runs/x",
    command="train.py",
    started="2026-11-22T20:15:00+01:00",
    state="finished",
    ending="finished",
    device=("cpu",),
    steps=1200,
    samples=9,
    overhead=0.008,
    elapsed_s=12.0,
)

FINDING = Finding(
    code="HW101",
    symptom="vanishing-gradient",
    severity="error",
    confidence=0.97,
    first_step=4,
    step=64,
    where=tuple(Where(file="/home/me/net.py", line=line, module=f"fc{line}") for line in range(9)),
    message="The gradient falls by 0.6 decades a layer.",
    causes=(Cause(cause="saturation", share=0.8, evidence="sigmoid passes a quarter"),),
    remedies=("relu", "he-init"),
)

names = st.text(
    st.characters(codec="utf-8") | st.sampled_from("網 路\t\x1b\x00é́…😀 \n"), max_size=60
)
levels = st.none() | st.floats(-20, 5) | st.sampled_from([-math.inf, math.nan, math.inf])
shares = st.none() | st.floats(0, 1)
measures = st.builds(
    Measure,
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=3).map(tuple),
    operations=st.integers(1, 10**6),
    calls=st.integers(1, 10**6),
    gain=levels,
    junction=st.floats(-1, 1),
    total=levels,
    level_in=levels,
    level_out=levels,
    dead=shares,
    saturated=shares,
)
rows = st.builds(
    Row, module=names, operation=names, measure=measures, file=names, line=st.integers(0, 9999)
)
lines = st.builds(
    Line,
    number=st.integers(0, 99_999),
    text=st.none() | names,
    measure=st.none() | measures,
    rows=st.lists(rows, max_size=3).map(tuple),
    codes=st.just(()) | st.just(("HW101", "HW104")),
    severity=st.sampled_from(["error", "warning", "info"]),
)
sources = st.builds(
    Source, file=names, shown_as=names, lines=st.lists(lines, max_size=5).map(tuple)
)
flows = st.builds(
    Flow,
    title=names,
    step=st.integers(0, 10**7),
    backward=st.integers(0, 9),
    alike=st.integers(1, 99),
    operations=st.integers(1, 10**6),
    low=st.just(-20.0),
    high=st.just(5.0),
    deepest=st.none(),
    not_finite=st.none() | st.integers(0, 99),
    sources=st.lists(sources, max_size=2).map(tuple),
)


def _head(words: str) -> Head:
    return replace(HEAD, command=words, ending=words, state="failed", alerts=(words,))


def _verdicts(words: str) -> tuple[Verdict, ...]:
    where = (Where(file=words, line=3, module=words), Where(parameter=words))
    cause = Cause(cause="saturation", share=0.3, evidence=words)
    found = replace(FINDING, symptom=words, message=words, where=where, causes=(cause,))
    return (
        Verdict(code="HW101", symptom="s", answer="wrong", findings=(found,)),
        Verdict(code="HW102", symptom=words, answer="healthy"),
        Verdict(code="HW103", symptom="s", answer="cannot say", reason=words),
    )


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    words=names,
    flows=st.lists(flows, max_size=2),
    notes=names,
    width=st.sampled_from([40, 80, 131]),
)
def test_no_line_is_wider_than_the_screen(
    words: str, flows: Sequence[Flow], notes: str, width: int
) -> None:
    parameter = ParameterRow(
        name=words,
        count=3,
        shape=(4, 4),
        step=1,
        gradient_norm=1e-30,
        relative_update=math.nan,
        lost_share=1.0,
        nonfinite_share=0.0,
        remark="in no optimiser",
    )
    report = Report(
        head=_head(words),
        verdicts=_verdicts(words),
        flows=tuple(flows),
        parameters=(parameter,),
        notes=(notes,),
    )
    text = rendered(report_lines(report, width, ["/made/up"], parameters=True))
    printed = text.split("\n")
    assert max(map(cell_len, printed)) <= width
    assert not [line for line in printed if "\x1b" in line or "\t" in line]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_any_encoding_can_carry_the_text(encoding: str) -> None:
    report = Report(
        head=replace(HEAD, command="網路.py"), verdicts=_verdicts("é"), flows=(_flow(),)
    )
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    text = rendered(report_lines(report, 80), file=file)
    text.encode(encoding)
    assert max(map(cell_len, text.split("\n"))) <= 80


def test_in_ascii_the_bar_is_still_a_bar() -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    report = Report(head=HEAD, flows=(_flow(),))
    (line,) = [x for x in rendered(report_lines(report, 80), file=file).split("\n") if " 41 " in x]
    assert line == "   41 ########........  -2.00 activ.    x = torch.sigmoid(self.fc1(x))"


def _flow(**more: Any) -> Flow:
    measure = Measure(
        kinds=("activation",),
        operations=1,
        calls=1,
        gain=-2.0,
        junction=0.0,
        total=-2.0,
        level_in=0.0,
        level_out=-2.0,
    )
    line = Line(
        number=41,
        text="    x = torch.sigmoid(self.fc1(x))",
        measure=replace(measure, **more),
    )
    return Flow(
        title="loss at net.py:50",
        step=8,
        backward=0,
        alike=1,
        operations=9,
        low=-4.0,
        high=0.0,
        deepest=-2.0,
        not_finite=None,
        sources=(Source(file="/x/net.py", shown_as="net.py", lines=(line,)),),
    )


def _text(report: Report, width: int = 80, **more: Any) -> str:
    return rendered(report_lines(report, width, **more))


def test_the_head_says_what_ran(tmp_path: Path) -> None:
    head = replace(HEAD, first_loss=0.7, last_loss=0.0125)
    assert _text(Report(head=head)).splitlines()[:2] == [
        f"{'train.py':64}2026-11-22 20:15",
        "finished · 1,200 steps · loss 0.7 → 0.0125 · 9 samples · overhead 0.8% · cpu",
    ]


def test_an_exception_and_alerts_get_lines_of_their_own() -> None:
    head = replace(HEAD, state="failed", ending="ended by ValueError: no", alerts=("cut off",))
    lines = _text(Report(head=head)).splitlines()
    assert lines[1] == "ended by ValueError: no"
    assert lines[2].startswith("1,200 steps")
    assert lines[3] == "! cut off"


def test_a_finding_says_what_where_why_and_what_to_try() -> None:
    verdict = Verdict(code="HW101", symptom="", answer="wrong", findings=(FINDING,))
    text = _text(Report(head=HEAD, verdicts=(verdict,)), folders=["/home/me"])
    assert text.splitlines()[3:11] == [
        "✗ HW101 vanishing-gradient  error, since step 4, confidence 97%",
        "  The gradient falls by 0.6 decades a layer.",
        "  where  net.py  fc0",
        "         net.py:1  fc1",
        "         net.py:2  fc2",
        "         and 6 more",
        "  why    80% saturation: sigmoid passes a quarter",
        "  try    relu, he-init",
    ]


def test_the_worst_finding_comes_first() -> None:
    found = [replace(FINDING, code=code, severity=severity) for code, severity in
             (("HW1", "info"), ("HW2", "error"), ("HW3", "warning"))]  # fmt: skip
    verdicts = tuple(
        Verdict(code=one.code, symptom="", answer="wrong", findings=(one,)) for one in found
    )
    text = _text(Report(head=HEAD, verdicts=verdicts))
    assert text.index("HW2") < text.index("HW3") < text.index("HW1")


def test_healthy_is_said_with_who_says_so_and_who_cannot() -> None:
    verdicts = (
        Verdict(code="HW101", symptom="vanishing-gradient", answer="healthy"),
        Verdict(code="HW202", symptom="stalled-loss", answer="cannot say", reason="3 losses"),
    )
    assert _text(Report(head=HEAD, verdicts=verdicts)).splitlines()[3:6] == [
        "healthy: nothing found",
        "  healthy     HW101 vanishing-gradient",
        "  cannot say  HW202 stalled-loss: 3 losses",
    ]


def test_nothing_judged_is_not_called_healthy() -> None:
    unknown = Verdict(code="HW202", symptom="stalled-loss", answer="cannot say", reason="3 losses")
    text = _text(Report(head=HEAD, verdicts=(unknown,)))
    assert "healthy" not in text
    assert "nothing could be judged" in text


def test_runs_with_nothing_to_annotate_say_why() -> None:
    assert "No backward pass was seen" in _text(Report(head=replace(HEAD, steps=0, samples=0)))
    assert "--every 1" in _text(Report(head=replace(HEAD, samples=0)))


@pytest.mark.parametrize(
    ("way", "drawn"),
    [
        ((0.0, 0.0), "████████████"),
        ((0.0, -0.5), "███████████░"),  # a cell is half a decade
        ((0.0, -0.4), "███████████░"),
        ((-0.4, -0.75), "██████████▌░"),  # under a cell, but over a halving
        ((-4.0, -4.1), "███▊        "),
        ((-5.0, 0.0), "██▓▓▓▓▓▓▓▓▓▓"),
        ((-9.0, -20.0), "▏░          "),
        ((-1.0, -math.inf), "0░░░░░░░░░  "),
        ((-math.inf, -math.inf), "exactly 0   "),
        ((0.0, math.nan), "not finite  "),
        ((math.inf, 0.0), "not finite  "),
        ((None, 0.0), "            "),
    ],
)
def test_the_bar_shows_what_is_left_and_what_was_lost(way: tuple[Any, Any], drawn: str) -> None:
    assert "".join(text for text, _ in bar(*way, SCALE)) == drawn


def test_what_others_did_is_pale() -> None:
    styles = [style for text, style in bar(0.0, -3.0, SCALE, own=False) if "░" in text]
    assert styles == ["dim"]


def test_a_row_is_shown_for_each_operation_where_a_line_has_several() -> None:
    flow = _flow()
    (line,) = flow.sources[0].lines
    assert line.measure is not None
    several = tuple(
        Row(module=f"net.{i}", operation="Addmm", measure=line.measure) for i in range(3)
    )
    source = replace(flow.sources[0], lines=(replace(line, rows=several),))
    printed = _text(Report(head=HEAD, flows=(replace(flow, sources=(source,)),))).splitlines()
    assert [x.split("├ ")[-1].split("└ ")[-1] for x in printed[-3:]] == [
        "net.0 Addmm",
        "net.1 Addmm",
        "net.2 Addmm",
    ]


def test_columns_that_no_line_needs_are_left_out() -> None:
    plain = _text(Report(head=HEAD, flows=(_flow(),)))
    assert "dead" not in plain
    assert "calls" not in plain
    full = _text(Report(head=HEAD, flows=(_flow(dead=0.4, saturated=0.98, calls=12),)))
    (line,) = [x for x in full.splitlines() if " 41 " in x]
    assert "12×-2.00 activ.   40%  98%" in line


def test_wide_screens_show_the_level_as_a_number() -> None:
    wide = rendered(report_lines(Report(head=HEAD, flows=(_flow(),)), 130))
    assert "  level  total" in wide
    assert "  -2.0  -2.00" in wide


def test_gaps_between_lines_are_marked() -> None:
    flow = _flow()
    (line,) = flow.sources[0].lines
    source = replace(flow.sources[0], lines=(replace(line, number=3, measure=None), line))
    printed = _text(Report(head=HEAD, flows=(replace(flow, sources=(source,)),))).splitlines()
    assert [x.strip() for x in printed[-2:-1]] == ["⋮"]


def test_text_is_plain_unless_colour_is_asked_for_or_a_terminal_takes_it() -> None:
    lines = [Text("level", style="bold red")]
    assert rendered(lines) == "level\n"
    assert rendered(lines, color="auto", file=io.StringIO()) == "level\n"
    assert rendered(lines, color="always", file=io.StringIO()) == "\x1b[1;31mlevel\x1b[0m\n"


def test_without_a_terminal_the_width_is_eighty() -> None:
    assert screen_width(io.StringIO()) == 80


def test_parameters_tell_norms_updates_and_what_is_wrong_with_them(tmp_path: Path) -> None:
    named = [
        made_up.parameter("fc.weight", (4, 3)),
        made_up.parameter("fc.bias", (4,), got_gradient=False),
        made_up.parameter("old.weight", optimiser=None),
    ]
    rows = [
        {"parameter": 0, "raw_norm": 64.0, "unscaled_norm": 1.0, "relative_update": 1e-9},
        {"parameter": 2, "raw_norm": 0.5, "relative_update": 0.0, "lost_share": 0.25},
    ]
    run = made_up.run(tmp_path, parameters=rows, info={"parameters": named})
    text = rendered(parameter_lines(assemble(run, now=0.0).parameters, 80))
    assert text.splitlines()[2:] == [
        " 1.0e+00  1.0e-09 █                fc.weight  4×3",
        "                                   fc.bias  4  no gradient reached it",
        " 5.0e-01        0 exactly 0   25%  old.weight  4×4  in no optimiser",
    ]


def test_alike_parameters_are_folded_to_the_one_that_moves_least(tmp_path: Path) -> None:
    named = [made_up.parameter(f"blocks.{i}.fc1.weight") for i in range(50)]
    named.append(made_up.parameter("head.weight"))
    updates = [{"parameter": i, "relative_update": 1e-3 * (1 + (i - 20) ** 2)} for i in range(50)]
    run = made_up.run(tmp_path, parameters=updates, info={"parameters": named})
    folded = assemble(run, now=0.0, most_rows=40).parameters
    assert [(row.name, row.count, row.relative_update) for row in folded] == [
        ("blocks.*.fc1.weight", 50, 1e-3),
        ("head.weight", 1, None),
    ]
    assert len(assemble(run, now=0.0, most_rows=0).parameters) == 51
