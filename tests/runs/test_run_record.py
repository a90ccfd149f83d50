"""The writer and the reader against each other, on a healthy disk."""

import json
import math
import multiprocessing
import subprocess
import sys
import threading
from pathlib import Path

import made_up
import pyarrow as pa
import pytest

from headwater.errors import RunExistsError
from headwater.records import OptimiserInfo, ParameterInfo, Site
from headwater.runs.info import RunInfo
from headwater.runs.reader import Run
from headwater.runs.schema import PULSE, SCHEMAS, TABLE_NAMES
from headwater.runs.writer import RunWriter, write_findings


def test_every_column_of_every_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    values = {
        pa.int64(): [0, 2**40, None],
        pa.int32(): [0, -1, None],
        pa.float64(): [1e-300, -math.inf, None],
        pa.bool_(): [True, False, None],
        pa.string(): ["float16", "", None],
        pa.list_(pa.float64()): [[0.5, None, math.inf], [], None],
        pa.list_(pa.int64()): [[2**40, None, 0], [], None],
    }
    written = {
        table: {field.name: values[field.type] for field in SCHEMAS[table]} for table in TABLE_NAMES
    }
    writer = RunWriter(tmp_path / "run")
    for table, columns in written.items():
        writer.append(table, columns)
        writer.append(table, columns)
    run = Run.open(tmp_path / "run")
    tables = {"pulse": run.pulse, "parameters": run.parameter_rows, "sites": run.site_rows}
    for table, columns in written.items():
        assert tables[table].to_pydict() == {name: two * 2 for name, two in columns.items()}
        assert tables[table].schema == SCHEMAS[table]
    assert run.truncated == ()


def test_nan_is_not_null(tmp_path: Path) -> None:
    run = made_up.run(tmp_path, pulse=[{"loss": math.nan}, {"loss": None}])
    loss = run.pulse["loss"].to_pylist()
    assert math.isnan(loss[0])
    assert loss[1] is None


def test_columns_left_out_are_null(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run")
    writer.append("pulse", {"step": [0, 1]})
    pulse = Run.open(tmp_path / "run").pulse
    assert pulse["step"].to_pylist() == [0, 1]
    assert all(pulse[name].null_count == 2 for name in PULSE.names if name != "step")


def test_info_comes_back_as_it_was_written(tmp_path: Path) -> None:
    info = RunInfo(
        headwater="0.1.0",
        command=("python", "tr\udcffain.py", '"quoted"'),
        started="2026-11-22T20:15:00+01:00",
        exit={"code": 1, "exception": "ValueError: …"},
        git={"revision": "abc", "dirty": True},
        seed=2**63,
        modules=({"path": "", "type": "Net"},),
        parameters=(
            ParameterInfo(name="w", shape=(2, 3), dtype="float32", requires_grad=True, optimiser=0),
        ),
        optimisers=(OptimiserInfo(type="SGD", settings={"lr": 0.1, "nesterov": False}),),
        sites=(Site(operation="mm", kind="weights", file="train.py", line=3),),
        sources={"train.py": "x = 'é'\r\n"},
        unknown_operations={"FooBackward0": 2},
    )
    writer = RunWriter(tmp_path / "run")
    writer.write_info(RunInfo())
    writer.write_info(info)
    assert Run.open(tmp_path / "run").info == info
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.json"]


def test_run_json_is_strict_json(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run")
    settings = {"eps": math.inf, "lr": float("nan")}
    writer.write_info(RunInfo(optimisers=(OptimiserInfo(type="Adam", settings=settings),)))

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    text = (tmp_path / "run" / "run.json").read_text(encoding="utf-8")
    data = json.loads(text, parse_constant=refuse)
    assert data["optimisers"][0]["settings"] == {"eps": "inf", "lr": "nan"}


def test_a_folder_that_holds_a_run_is_not_written_over(tmp_path: Path) -> None:
    made_up.run(tmp_path, pulse=[{"loss": 1.0}])
    with pytest.raises(RunExistsError, match="already holds a run; name another folder"):
        RunWriter(tmp_path / "run-0")


def test_an_unknown_column_is_refused_by_name(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run")
    with pytest.raises(ValueError, match="table 'pulse' has no column 'los'; it has"):
        writer.append("pulse", {"step": [0], "los": [0.5]})


def test_columns_of_unequal_length_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run")
    with pytest.raises(ValueError, match="differ in length"):
        writer.append("pulse", {"step": [0, 1], "loss": [0.5]})
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.json"]


def test_a_folder_given_twice_is_the_first_one_s(tmp_path: Path) -> None:
    RunWriter(tmp_path / "run")
    with pytest.raises(RunExistsError, match="already holds a run"):
        RunWriter(tmp_path / "run")


def test_an_empty_batch_writes_nothing(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run")
    writer.append("pulse", {"step": []})
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.json"]


def test_a_closed_writer_says_so(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run")
    writer.close()
    with pytest.raises(ValueError, match="is closed; open a new RunWriter"):
        writer.append("pulse", {"step": [0]})


def test_the_writer_stays_with_its_folder_when_the_script_changes_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    writer = RunWriter("run")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    writer.append("pulse", {"step": [0]})
    assert Run.open(tmp_path / "run").pulse.num_rows == 1


def test_a_table_removed_during_the_run_is_an_error_not_a_stream_without_a_schema(
    tmp_path: Path,
) -> None:
    writer = RunWriter(tmp_path / "run")
    writer.append("pulse", {"step": [0]})
    (tmp_path / "run" / "pulse.arrow").unlink()
    with pytest.raises(FileNotFoundError):
        writer.append("pulse", {"step": [1]})


def test_threads_may_write_at_once(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run")

    def write(start: int) -> None:
        for step in range(start, start + 50):
            writer.append("pulse", {"step": [step] * 20})

    threads = [threading.Thread(target=write, args=(1000 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run = Run.open(tmp_path / "run")
    assert run.truncated == ()
    expected = [step for i in range(4) for step in range(1000 * i, 1000 * i + 50)]
    assert sorted(run.pulse["step"].to_pylist()) == [s for s in expected for _ in range(20)]


def _write_as_a_child(writer: RunWriter) -> None:
    writer.append("pulse", {"step": [99]})
    writer.write_info(RunInfo(seed=99))
    writer.close()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
# Python warns of forks where threads run; a data loader forks all the same, so this must hold.
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_does_not_write_into_its_parents_record(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run")
    writer.append("pulse", {"step": [0]})
    writer.write_info(RunInfo(seed=0))
    with writer._lock:  # as if another thread were writing while this one forks
        child = multiprocessing.get_context("fork").Process(
            target=_write_as_a_child, args=(writer,)
        )
        child.start()
        child.join(timeout=60)
    assert child.exitcode == 0
    writer.append("pulse", {"step": [1]})
    run = Run.open(tmp_path / "run")
    assert run.pulse["step"].to_pylist() == [0, 1]
    assert run.info.seed == 0


def test_a_writer_costs_no_pyarrow_and_no_torch_before_the_first_batch(tmp_path: Path) -> None:
    code = (
        "import sys; from headwater.runs.writer import RunWriter;"
        "from headwater.runs.info import RunInfo;"
        f"RunWriter({str(tmp_path / 'run')!r}).write_info(RunInfo());"
        "assert not {'pyarrow', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_reader_does_not_load_torch() -> None:
    code = "import sys, headwater.runs.export; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_findings_are_replaced_whole(tmp_path: Path) -> None:
    run = made_up.run(tmp_path, pulse=[{"loss": 1.0}])
    write_findings(run.path, [{"code": "HW101"}, {"code": "HW102"}])
    write_findings(run.path, [{"code": "HW103", "evidence": {"level": -math.inf}}])
    found = json.loads(run.findings_path.read_text(encoding="utf-8"))
    assert found == [{"code": "HW103", "evidence": {"level": "-inf"}}]


def test_findings_that_cannot_be_written_leave_the_ones_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made_up.run(tmp_path, pulse=[{"loss": 1.0}])
    write_findings(run.path, [{"code": "HW101"}])

    def full(path: Path, text: str, **_: str) -> int:
        path.touch()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(OSError, match="No space left"):
            write_findings(run.path, [])
    assert json.loads(run.findings_path.read_text(encoding="utf-8")) == [{"code": "HW101"}]
    assert not [path for path in run.path.iterdir() if path.name.startswith(".")]
