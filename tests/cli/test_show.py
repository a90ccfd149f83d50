"""`headwater show` on records made by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import made_up
import pytest

from headwater.cli.main import main

SOURCE = "def forward(x):\n    h = torch.tanh(x)\n    return h.sum()\n"


@pytest.fixture
def record(tmp_path: Path) -> str:
    sites = [
        made_up.site("Sum", "shape", 3),
        made_up.site("Tanh", "activation", 2),
        made_up.site("AccumulateGrad", "parameter", 0, parameter="w"),
    ]
    nodes = [
        made_up.node(0, -1, gain=0.5),
        made_up.node(1, 0, edge_decades=0.5, level=0.5, gain=-0.75),
        made_up.node(2, 1, edge_decades=-0.75, level=-0.25, parameter=0),
    ]
    info = {"sites": sites, "sources": {"train.py": SOURCE}, "parameters": [made_up.parameter("w")]}
    run = made_up.run(tmp_path, pulse=[{"loss": 1.0}, {"loss": 0.5}], sites=nodes, info=info)
    return str(run.path)


def _output(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["show", *words]) == 0
    return capsys.readouterr().out


def test_the_source_is_shown_with_what_the_gradient_meets(
    record: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = _output(capsys, record).splitlines()
    assert lines[0].startswith("train.py ")
    assert [line.split("  ")[-1].strip() for line in lines[-3:]] == [
        "def forward(x):",
        "h = torch.tanh(x)",
        "return h.sum()",
    ]
    assert "-0.75 activ." in lines[-2]
    assert "\x1b" not in "".join(lines)
    assert max(map(len, lines)) <= 80


def test_the_json_holds_the_same_figures(record: str, capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(_output(capsys, record, "--json"))
    (source,) = data["flows"][0]["sources"]
    totals = [line["measure"] and line["measure"]["total"] for line in source["lines"]]
    assert totals == [None, -0.75, 0.5]
    assert {verdict["answer"] for verdict in data["verdicts"]} <= {"healthy", "cannot say"}
    assert len(data["verdicts"]) >= 8


def test_the_account_of_a_parameter_is_shown_and_adds_up(
    record: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "sum -0.250000 = measured -0.250000" in _output(capsys, record, "--ledger", "w")
    assert json.loads(_output(capsys, record, "--ledger", "w", "--json"))["total"] == -0.25


def test_parameters_are_listed_on_request(record: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "w  4×4" not in _output(capsys, record)
    assert "w  4×4" in _output(capsys, record, "--parameters")


def test_width_and_colour_can_be_asked_for(record: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert max(map(len, _output(capsys, record, "--width", "60").splitlines())) <= 60
    assert "\x1b[" in _output(capsys, record, "--color", "always")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--step", "7"], "no ledger of step 7; sampled steps are 0"),
        (["--file", "other.py"], "files with operations: train.py"),
        (["--ledger", "v"], "no parameter 'v'"),
    ],
)
def test_what_is_not_recorded_is_said_in_one_line(
    record: str, capfd: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["show", record, *words]) == 2
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_width_too_narrow_is_refused(record: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["show", record, "--width", "9"])
    assert "a whole number from 40 on, got '9'" in capsys.readouterr().err


def test_no_run_at_all_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(tmp_path / "none")]) == 2
    assert "no run in" in capfd.readouterr().err


def test_a_run_killed_before_its_first_step_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.json").write_text("{}")
    assert "No backward pass was seen" in _output(capsys, str(tmp_path))


def test_showing_loads_no_torch(record: str) -> None:
    code = (
        "import sys; from headwater.cli.main import main; "
        f"main(['show', {record!r}]); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
