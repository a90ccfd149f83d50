"""`headwater export`, on a record made by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet
import pytest

from headwater.cli import export
from headwater.cli.main import main
from headwater.runs.export import FORMATS
from headwater.runs.info import RunInfo
from headwater.runs.writer import RunWriter


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The newest of two runs in the directory that the command starts in."""
    for name, loss in (("older", 9.0), ("newer", 0.5)):
        writer = RunWriter(tmp_path / "headwater-runs" / name)
        writer.write_info(RunInfo(started=f"2026-11-22T20:1{int(name == 'newer')}:00+00:00"))
        writer.append("pulse", {"step": [0, 1], "loss": [0.7, loss]})
        writer.close()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "headwater-runs" / "newer"


def test_it_offers_the_formats_that_there_are() -> None:
    assert export.FORMATS == FORMATS


def test_no_run_means_the_newest_and_its_own_folder(
    record: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--to", "parquet"]) == 0
    files = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert {file.name for file in files} == {"pulse.parquet", "parameters.parquet", "sites.parquet"}
    assert {file.parent.resolve() for file in files} == {record / "parquet"}
    pulse = pyarrow.parquet.read_table(record / "parquet" / "pulse.parquet")
    assert pulse["loss"].to_pylist() == [0.7, 0.5]


def test_a_run_and_a_folder_may_be_named(
    record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    older, out = str(record.with_name("older")), str(tmp_path / "out")
    assert main(["export", older, "--to", "csv", "--out", out, "--json"]) == 0
    files = json.loads(capsys.readouterr().out)
    assert sorted(files) == sorted(str(file) for file in Path(out).iterdir())
    pulse = pyarrow.csv.read_csv(Path(out) / "pulse.csv")
    assert pulse["loss"].to_pylist() == [0.7, 9.0]


def test_a_run_that_is_not_there_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", "nothing", "--to", "csv"]) == 2
    assert capfd.readouterr().err == (
        "headwater: no run in 'nothing'; `headwater run SCRIPT` makes one\n"
    )
