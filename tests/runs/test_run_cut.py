"""A record that was cut, spoilt, killed or starved of disk reads up to its last whole batch."""

import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import made_up
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.errors import UnreadableRunError
from headwater.runs.info import RunInfo
from headwater.runs.reader import Run
from headwater.runs.schema import SCHEMAS, TABLE_NAMES, TableName
from headwater.runs.tables import read_table
from headwater.runs.writer import RunWriter

BATCH_ROWS = 3
BATCHES = 4


def _rows(table: TableName, batch: int) -> list[dict[str, Any]]:
    """Rows with every type in the schema, and a null in each column now and then."""
    values = {
        "bool": lambda i: i % 2 == 0,
        "double": lambda i: i / 7 - 2,
        "string": str,
        "list<item: int64>": lambda i: [i, None, 2**40][: i % 4],
        "list<item: double>": lambda i: [float(i), None, math.inf][: i % 4],
    }
    return [
        {
            field.name: None if (i + at) % 5 == 0 else values.get(str(field.type), int)(i)
            for at, field in enumerate(SCHEMAS[table])
        }
        for i in range(BATCH_ROWS * batch, BATCH_ROWS * (batch + 1))
    ]


@pytest.fixture(scope="module", params=TABLE_NAMES)
def whole(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TableName, bytes, list[int], list[dict[str, Any]]]:
    """A table's name, its bytes, where its batches end, and its rows."""
    table: TableName = request.param
    folder = tmp_path_factory.mktemp(table)
    writer = RunWriter(folder)
    ends: list[int] = []
    rows: list[dict[str, Any]] = []
    for batch in range(BATCHES):
        rows += _rows(table, batch)
        writer.append(table, made_up.columns(table, _rows(table, batch)))
        ends.append((folder / f"{table}.arrow").stat().st_size)
    return table, (folder / f"{table}.arrow").read_bytes(), ends, rows


def _read(folder: Path, table: TableName, content: bytes) -> tuple[list[dict[str, Any]], bool]:
    (folder / f"{table}.arrow").write_bytes(content)
    read, cut = read_table(folder, table)
    return read.to_pylist(), cut


def _schema_end(table: TableName) -> int:
    return len(SCHEMAS[table].serialize())


def _whole_batches(ends: Sequence[int], cut: int) -> int:
    return sum(end <= cut for end in ends)


any_place = settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@any_place
@given(data=st.data())
def test_a_table_cut_at_any_byte_reads_as_its_whole_batches(
    whole: tuple[TableName, bytes, list[int], list[dict[str, Any]]],
    tmp_path: Path,
    data: st.DataObject,
) -> None:
    table, content, ends, rows = whole
    cut = data.draw(st.integers(0, len(content)))
    read, truncated = _read(tmp_path, table, content[:cut])
    assert read == rows[: BATCH_ROWS * _whole_batches(ends, cut)]
    assert truncated == (cut not in {0, _schema_end(table), *ends})


@any_place
@given(data=st.data(), tail=st.binary(min_size=1, max_size=200))
def test_garbage_after_any_cut_reads_as_the_whole_batches(
    whole: tuple[TableName, bytes, list[int], list[dict[str, Any]]],
    tmp_path: Path,
    data: st.DataObject,
    tail: bytes,
) -> None:
    table, content, ends, rows = whole
    cut = data.draw(st.sampled_from([0, _schema_end(table), *ends]))
    read, truncated = _read(tmp_path, table, content[:cut] + tail)
    assert read == rows[: BATCH_ROWS * _whole_batches(ends, cut)]
    assert truncated or set(tail) <= {0, 255}  # eight such bytes are Arrow's own end of stream


@any_place
@given(data=st.data())
def test_a_table_with_bytes_spoilt_anywhere_reads_or_is_refused(
    whole: tuple[TableName, bytes, list[int], list[dict[str, Any]]],
    tmp_path: Path,
    data: st.DataObject,
) -> None:
    table, content, ends, rows = whole
    at = data.draw(st.integers(0, len(content) - 1))
    spoilt = data.draw(st.binary(min_size=1, max_size=8))
    content = (content[:at] + spoilt + content[at + len(spoilt) :])[: len(content)]
    try:
        read, _ = _read(tmp_path, table, content)
    except UnreadableRunError:
        return  # the schema itself was hit
    before = BATCH_ROWS * _whole_batches(ends, at)
    assert at < _schema_end(table) or read[:before] == rows[:before]


def test_a_cut_table_is_named_and_the_others_read_whole(tmp_path: Path) -> None:
    nodes = [made_up.node(0, -1), made_up.node(1, 0, parameter=0)]
    run = made_up.run(tmp_path, pulse=[{"loss": 1.0}], sites=nodes)
    path = run.path / "sites.arrow"
    path.write_bytes(path.read_bytes()[:-1])
    cut = Run.open(run.path)
    assert cut.truncated == ("sites",)
    assert cut.site_rows.num_rows == 0
    assert cut.pulse.num_rows == 1
    assert cut.sampled_steps == ()


APPEND_FOR_EVER = """
import sys
from headwater.runs.info import RunInfo
from headwater.runs.writer import RunWriter
writer = RunWriter(sys.argv[1])
print("started", flush=True)
batch = 0
while True:
    steps = [2000 * batch + i for i in range(2000)]
    writer.append("pulse", {"step": steps, "loss": [0.5] * 2000})
    writer.append("sites", {"step": steps, "site": [0] * 2000})
    writer.write_info(RunInfo(seed=batch, sources={"train.py": "x" * 100_000}))
    batch += 1
    if batch == 2:
        print("two batches", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
def test_a_record_killed_at_any_moment_reads_to_the_batch_before(tmp_path: Path) -> None:
    moments = random.Random(20)
    seen = []
    for attempt in range(20):
        folder = tmp_path / str(attempt)
        command = [sys.executable, "-c", APPEND_FOR_EVER, str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(1 + attempt % 2):  # each second kill falls after two batches at least
                process.stdout.readline()
            time.sleep(moments.uniform(0.0, 0.2))
            process.send_signal(signal.SIGKILL)
        run = Run.open(folder) if any(folder.iterdir()) else None
        if run is None:
            continue  # killed before the first batch
        steps = run.pulse["step"].to_pylist()
        assert steps == list(range(len(steps)))
        assert len(steps) % 2000 == 0
        assert len(steps) - run.site_rows.num_rows in {0, 2000}
        if run.info.seed is not None:
            assert run.info.seed + 1 in {len(steps) // 2000, len(steps) // 2000 - 1}
        seen.append(len(steps))
    assert sum(steps >= 4000 for steps in seen) >= 10


FILL_THE_DISK = """
import resource, signal, sys
from headwater.runs.info import RunInfo
from headwater.runs.writer import RunWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
writer = RunWriter(sys.argv[1])
writer.write_info(RunInfo(seed=1))
writer.append("pulse", {"step": [0] * 1000})
full = 300_000
resource.setrlimit(resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
batches = 1
try:
    while True:
        writer.append("pulse", {"step": [batches] * 1000})
        batches += 1
except OSError as error:
    print(batches, error.strerror)
try:
    writer.write_info(RunInfo(seed=2, sources={"train.py": "x" * full}))
except OSError as error:
    print(error.strerror)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
if sys.argv[2] == "room again":
    writer.append("pulse", {"step": [batches] * 1000})
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit on file sizes")
@pytest.mark.parametrize("then", ["stop", "room again"])
def test_a_full_disk_raises_and_the_record_reads_to_the_last_whole_batch(
    tmp_path: Path, then: str
) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-c", FILL_THE_DISK, str(folder), then]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")
    batches, _, why = said[0].partition(" ")
    assert (why, said[1]) == ("File too large", "File too large")
    run = Run.open(folder)
    wanted = int(batches) + (then == "room again")
    assert run.pulse["step"].to_pylist() == [step for step in range(wanted) for _ in range(1000)]
    assert wanted > 1
    assert run.truncated == ()
    assert run.info.seed == 1
    assert sorted(path.name for path in folder.iterdir()) == ["pulse.arrow", "run.json"]


def test_a_short_write_is_carried_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, bytes(data[:100])))
    writer = RunWriter(tmp_path / "run")
    writer.append("pulse", {"step": list(range(500))})
    monkeypatch.undo()
    run = Run.open(tmp_path / "run")
    assert run.pulse["step"].to_pylist() == list(range(500))


def test_an_interrupt_in_the_middle_of_a_write_leaves_whole_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = RunWriter(tmp_path / "run")
    writer.append("pulse", {"step": [0]})
    write = os.write

    def interrupted(file: int, data: bytes) -> int:
        write(file, bytes(data[:100]))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            writer.append("pulse", {"step": [1]})
    writer.append("pulse", {"step": [2]})
    assert Run.open(tmp_path / "run").pulse["step"].to_pylist() == [0, 2]


def test_an_interrupt_while_run_json_is_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = RunWriter(tmp_path / "run")
    writer.write_info(RunInfo(seed=1))

    def interrupted(draft: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            writer.write_info(RunInfo(seed=2))
    assert Run.open(tmp_path / "run").info.seed == 1
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.json"]
