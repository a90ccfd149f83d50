"""The user's source: context, gaps, library code, files that are gone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import made_up
import pytest

from headwater.errors import NotRecordedError
from headwater.records import Finding, Site, Verdict, Where
from headwater.reports.assemble import assemble
from headwater.reports.view import Report, Source

NET = """\
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(2, 2)

    def forward(self, x):
        x = x * 2

        x = torch.relu(x)
        return self.fc(x)


net = Net()
loss = net(torch.ones(2)).sum()
loss.backward()
"""


def _report(folder: Path, sites: Sequence[Site], **more: Any) -> Report:
    options = {name: more.pop(name) for name in ("file", "verdicts") if name in more}
    nodes = [made_up.node(i, i - 1, gain=-0.1, level=-0.1 * i) for i in range(len(sites))]
    info = {"sites": sites, "sources": {"train.py": NET}, **more}
    run = made_up.run(folder, pulse=[{"loss": 1.0}], sites=nodes, info=info)
    return assemble(run, options.pop("verdicts", ()), now=0.0, **options)


def _source(report: Report) -> Source:
    return report.flows[0].sources[0]


def test_lines_come_with_their_neighbours_and_the_def_and_class_around_them(tmp_path: Path) -> None:
    source = _source(_report(tmp_path, [made_up.site(line=13), made_up.site(line=12)]))
    # 11 and 14 are neighbours but blank; 4 and 9 hold the lines.
    assert [line.number for line in source.lines] == [4, 9, 12, 13]
    assert [line.number for line in source.lines if line.measure] == [12, 13]
    assert source.lines[-1].text == "        return self.fc(x)"


def test_a_source_that_does_not_parse_is_still_shown(tmp_path: Path) -> None:
    broken = {"train.py": "def f(:\n    x = 1\n    y = 2\n"}
    source = _source(_report(tmp_path, [made_up.site(line=2)], sources=broken))
    assert [line.number for line in source.lines] == [1, 2, 3]


def test_a_line_beyond_the_end_of_its_file_is_shown_without_text(tmp_path: Path) -> None:
    source = _source(_report(tmp_path, [made_up.site(line=400)]))
    assert [(line.number, line.text) for line in source.lines] == [(400, None)]


def test_a_source_that_was_not_recorded_is_read_from_disk(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text("x = 1\ny = x * 2\n")
    os.utime(path, (0, 0))
    site = made_up.site(line=2, user_file=str(path))
    report = _report(tmp_path, [site], sources={})
    assert _source(report).lines[-1].text == "y = x * 2"
    assert report.notes == ()


def test_a_source_that_changed_since_the_run_is_told(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text("x = 1\n")
    report = _report(tmp_path, [made_up.site(line=1, user_file=str(path))], sources={},
                     started="2001-01-01T00:00:00+00:00")  # fmt: skip
    assert report.notes == (f"{path} has changed since the run began",)


def test_a_source_that_is_gone_is_shown_without_text(tmp_path: Path) -> None:
    report = _report(tmp_path, [made_up.site(line=2, user_file="/gone/net.py")], sources={})
    assert [(line.number, line.text) for line in _source(report).lines] == [(2, None)]


def test_library_code_stands_under_the_users_line_that_called_it(tmp_path: Path) -> None:
    site = made_up.site(
        "Gelu", "activation", 44, file="/lib/timm/mlp.py", user_line=17, module="blocks.0.mlp.act"
    )
    line = _source(_report(tmp_path, [site])).lines[1]
    assert line.number == 17
    (row,) = line.rows
    assert (row.file, row.line, row.module) == ("/lib/timm/mlp.py", 44, "blocks.0.mlp.act")


def test_operations_without_a_line_are_shown_last(tmp_path: Path) -> None:
    nowhere = made_up.site("Relu", "activation", 0, file="", user_file="", user_line=0)
    sources = _report(tmp_path, [nowhere, made_up.site(line=13)]).flows[0].sources
    assert [source.shown_as for source in sources] == ["train.py", "(line not known)"]
    assert sources[1].lines[0].number == 0


def test_paths_are_shown_from_where_the_run_or_its_script_stands(tmp_path: Path) -> None:
    sites = [
        made_up.site(line=1, user_file="/made/up/deep/net.py"),
        made_up.site(line=1, user_file="/other/net.py"),
        made_up.site(line=1, user_file="/scripts/loop.py"),
    ]
    sources = _report(tmp_path, sites, script="/scripts/train.py").flows[0].sources
    assert {source.shown_as for source in sources} == {"deep/net.py", "/other/net.py", "loop.py"}


def test_lines_named_by_a_finding_are_marked_with_the_worst_severity(tmp_path: Path) -> None:
    verdicts = []
    for code, severity in (("HW104", "warning"), ("HW101", "error")):
        finding = Finding(
            code=code,
            symptom="",
            severity=severity,
            confidence=1.0,
            first_step=0,
            step=0,
            where=(Where(file="train.py", line=12), Where(file="train.py", line=12)),
            message="",
        )
        verdicts.append(Verdict(code=code, symptom="", answer="wrong", findings=(finding,)))
    report = _report(tmp_path, [made_up.site(line=13), made_up.site(line=12)], verdicts=verdicts)
    marked = {line.number: (line.codes, line.severity) for line in _source(report).lines}
    assert marked[12] == (("HW104", "HW101"), "error")
    assert marked[13] == ((), None)


def test_one_file_can_be_asked_for_by_name_or_end_of_path(tmp_path: Path) -> None:
    sites = [made_up.site(line=13), made_up.site(line=1, user_file="/made/up/models/net.py")]
    for wanted in ("net.py", "models/net.py", "/made/up/models/net.py"):
        sources = _report(tmp_path, sites, file=wanted).flows[0].sources
        assert [source.shown_as for source in sources] == ["models/net.py"]


def test_a_file_that_no_operation_stands_in_is_refused_with_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(NotRecordedError, match=r"file 'et.py'; files with operations: train.py"):
        _report(tmp_path, [made_up.site(line=13)], file="et.py")
