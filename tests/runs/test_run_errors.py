"""What the reader says to folders that are no run, several runs, or broken ones."""

import json
import os
from pathlib import Path
from typing import Any

import made_up
import pyarrow as pa
import pytest

from headwater.errors import NewerSchemaError, RunNotFoundError, UnreadableRunError
from headwater.records import Site
from headwater.runs.info import RunInfo
from headwater.runs.reader import Run
from headwater.runs.writer import RunWriter


def _folder(tmp_path: Path, run_json: str) -> Path:
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "run.json").write_text(run_json, encoding="utf-8")
    return folder


def _run(folder: Path, **info: Any) -> Path:
    RunWriter(folder).write_info(RunInfo(**info))
    return folder


def test_no_folder_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError) as caught:
        Run.open(tmp_path / "x")
    assert str(caught.value) == (
        f"no run in {str(tmp_path / 'x')!r}; `headwater run SCRIPT` makes one"
    )


def test_an_empty_folder_holds_no_run(tmp_path: Path) -> None:
    (tmp_path / "trials").mkdir()
    with pytest.raises(RunNotFoundError):
        Run.newest(tmp_path)


def test_newest_looks_in_headwater_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunNotFoundError, match="no run in 'headwater-runs'; `headwater run"):
        Run.newest()
    _run(tmp_path / "headwater-runs" / "a", seed=5)
    assert Run.newest().info.seed == 5


def test_a_file_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("", encoding="utf-8")
    with pytest.raises(UnreadableRunError) as caught:
        Run.open(tmp_path / "train.py")
    assert str(caught.value) == (
        f"cannot read run {str(tmp_path / 'train.py')!r}: it is a file; a run is a folder"
    )


@pytest.mark.parametrize(
    ("run_json", "why"),
    [
        ("{", "run.json is not JSON (Expecting property name"),
        ("", "run.json is not JSON (Expecting value"),
        ("[" * 100_000, "run.json is not JSON (maximum recursion depth"),
        ("[]", "run.json holds a list, not an object"),
        ('{"schema": "one"}', "run.json has schema 'one', not a number"),
        ('{"sites": 5}', "in run.json, sites is a int, not a list"),
        ('{"sites": [5]}', "in run.json, an entry of sites is a int, not a dict"),
        ('{"sites": [{}]}', "in run.json, an entry of sites lacks one of operation, kind"),
        ('{"parameters": [{"shape": 3}]}', "in run.json, a shape in parameters is a int"),
        ('{"modules": ["net"]}', "in run.json, an entry of modules is a str, not a dict"),
        ('{"exit": 0}', "in run.json, exit is a int, not a dict"),
        ('{"overhead": null}', "in run.json, overhead is a NoneType, not a dict"),
    ],
)
def test_a_run_json_that_makes_no_sense_is_named(tmp_path: Path, run_json: str, why: str) -> None:
    folder = _folder(tmp_path, run_json)
    with pytest.raises(UnreadableRunError) as caught:
        Run.open(folder)
    assert str(caught.value).startswith(f"cannot read run {str(folder)!r}: {why}")
    assert "\n" not in str(caught.value)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    folder = _folder(tmp_path, '{"schema": 2, "sites": "another shape"}')
    with pytest.raises(NewerSchemaError) as caught:
        Run.open(folder)
    assert str(caught.value) == (
        f"run {str(folder)!r} has schema 2, this headwater reads up to 1; "
        "update it: pip install -U headwater"
    )


def test_permission_denied_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _run(tmp_path / "x")

    def deny(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", deny)
    with pytest.raises(UnreadableRunError) as caught:
        Run.open(folder)
    assert str(caught.value) == (
        f"cannot read run {str(folder)!r}: Permission denied: {folder / 'run.json'}"
    )


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_may_not_be_listed_is_said(tmp_path: Path) -> None:
    folder = _run(tmp_path / "x")
    folder.chmod(0)
    try:
        with pytest.raises(UnreadableRunError, match="Permission denied"):
            Run.open(folder)
    finally:
        folder.chmod(0o700)


def test_a_table_that_is_a_folder_is_said(tmp_path: Path) -> None:
    folder = _run(tmp_path / "x")
    (folder / "pulse.arrow").mkdir()
    with pytest.raises(UnreadableRunError, match=r"pulse\.arrow: "):
        _ = Run.open(folder).pulse


def test_a_column_of_another_type_is_said(tmp_path: Path) -> None:
    folder = _run(tmp_path / "x")
    table = pa.table({"step": ["first"]})
    with pa.ipc.new_stream(folder / "pulse.arrow", table.schema) as stream:
        stream.write_table(table)
    with pytest.raises(UnreadableRunError, match=r"pulse\.arrow: .*first"):
        _ = Run.open(folder).pulse


def test_an_older_writers_columns_are_cast_and_the_missing_ones_null(tmp_path: Path) -> None:
    folder = _run(tmp_path / "x")
    table = pa.table({"loss": pa.array([0.5, None], pa.float32()), "left_out_since": [1, 2]})
    with pa.ipc.new_stream(folder / "pulse.arrow", table.schema) as stream:
        stream.write_table(table)
    run = Run.open(folder)
    assert run.pulse["loss"].to_pylist() == [0.5, None]
    assert run.pulse["step"].null_count == 2
    assert "left_out_since" not in run.pulse.column_names
    assert run.truncated == ()


def test_unknown_keys_and_kinds_of_a_later_writer_are_passed_over(tmp_path: Path) -> None:
    site = {"operation": "fft", "kind": "spectral", "line": 3, "column": 9}
    run = Run.open(_folder(tmp_path, json.dumps({"sites": [site], "weather": "fine"})))
    assert run.sites == (Site(operation="fft", kind="other", line=3),)


def test_a_partial_run_json_reads_with_defaults(tmp_path: Path) -> None:
    run = Run.open(_folder(tmp_path, '{"observation": {"status": "stopped"}}'))
    assert run.info.observation == {"status": "stopped", "reason": None, "notes": []}
    assert run.info.sampling["overhead"] == 0.01


def test_a_run_killed_before_its_run_json_reads_and_says_so(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "x")
    writer.append("pulse", {"step": [0], "gradient_norms": [[1.0, 2.0]]})
    writer.append("sites", made_up.columns("sites", [{"step": 0, "node": 0, "site": 2}]))
    (tmp_path / "x/run.json").unlink()
    run = Run.open(tmp_path / "x")
    assert run.pulse.num_rows == 1
    assert run.info.observation["notes"] == [
        "run.json is missing: the process was killed before it was written"
    ]
    assert [site.kind for site in run.sites] == ["other"] * 3
    assert [parameter.name for parameter in run.parameters] == ["parameter 0", "parameter 1"]


def test_sites_that_a_kill_left_unnamed_can_be_looked_up(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "x")
    known = Site(operation="mm", kind="weights")
    writer.write_info(RunInfo(sites=(known,)))
    rows = [
        {"step": 0, "backward": 0, "node": 0, "parent": -1, "site": 0, "level": 0.0},
        {"step": 0, "backward": 0, "node": 1, "parent": 0, "site": 1, "level": 0.0}
        | {"parameter": 0, "edge_decades": 0.0, "junction_decades": 0.0},
    ]
    writer.append("sites", made_up.columns("sites", rows))
    run = Run.open(tmp_path / "x")
    assert run.sites == (known, Site(operation="unknown", kind="other"))
    assert run.ledger().names == ("parameter 0",)
    assert run.ledger().by_site()[1].site.operation == "unknown"


def test_rank_0_stands_for_a_folder_of_ranks(tmp_path: Path) -> None:
    job = tmp_path / "job"
    for rank in (10, 0, 2):
        _run(job / f"rank{rank}", seed=rank)
    (job / "rankings").mkdir()
    run = Run.open(job)
    assert run.info.seed == 0
    assert run.path == job / "rank0"
    assert run.ranks == (job / "rank0", job / "rank2", job / "rank10")
    assert Run.open(tmp_path).ranks == run.ranks
    assert Run.open(job / "rank2").ranks == ()


def test_the_newest_run_is_the_one_that_started_last(tmp_path: Path) -> None:
    _run(tmp_path / "z", started="2026-01-01T12:00:00+00:00", seed=1)
    _run(tmp_path / "a", started="2026-01-01T12:30:00+00:00", seed=2)
    # Half an hour earlier than a's, though its clock shows a later hour.
    _run(tmp_path / "m", started="2026-01-01T13:00:00+01:00", seed=3)
    (tmp_path / "notes.txt").write_text("", encoding="utf-8")
    assert Run.newest(tmp_path).info.seed == 2
    assert Run.open(tmp_path).info.seed == 2


def test_a_run_of_unknown_start_goes_by_its_folders_time(tmp_path: Path) -> None:
    _run(tmp_path / "old", started="2026-01-01T12:00:00+00:00", seed=1)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "run.json").write_text("{", encoding="utf-8")
    os.utime(broken, (0, 0))
    assert Run.newest(tmp_path).info.seed == 1


def test_a_run_opens_though_trials_lie_in_it(tmp_path: Path) -> None:
    folder = _run(tmp_path / "x", seed=1)
    _run(folder / "trials" / "control", seed=2)
    assert Run.open(folder).info.seed == 1
