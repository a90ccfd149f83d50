"""Where a record goes when nobody says where, and that it never goes over another."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from headwater.errors import UsageError
from headwater.watch.folder import given_folder, run_folder

NOW = datetime(2026, 11, 22, 20, 15)


def test_a_folder_taken_already_gets_a_number(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        folder = run_folder(tmp_path, "train", {}, NOW)
        assert not folder.exists()
        folder.mkdir(parents=True)
        names.append(folder.relative_to(tmp_path).as_posix())
    assert names == [
        "headwater-runs/20261122-201500-train",
        "headwater-runs/20261122-201500-train-2",
        "headwater-runs/20261122-201500-train-3",
    ]


def test_the_ranks_of_one_job_share_a_folder(tmp_path: Path) -> None:
    folders = []
    for second, rank in enumerate("0123"):
        environ = {"WORLD_SIZE": "4", "RANK": rank}
        folder = run_folder(tmp_path, "train", environ, NOW.replace(second=second))
        folder.mkdir(parents=True)
        folders.append(folder)
    assert len({folder.parent for folder in folders}) == 1 or not Path("/proc/stat").exists()
    assert [folder.name for folder in folders] == ["rank0", "rank1", "rank2", "rank3"]


def test_processes_of_one_parent_agree_on_the_time() -> None:
    code = (
        "import os, sys, time\nfrom datetime import datetime\nfrom pathlib import Path\n"
        "from headwater.watch.folder import run_folder\n"
        "print(run_folder(Path('/'), 'x', {'WORLD_SIZE': '2', 'RANK': '0'}, datetime.now()))"
    )
    later = f"import time; time.sleep(1.1)\n{code}"
    answers = {
        subprocess.run([sys.executable, "-c", text], capture_output=True, check=True).stdout
        for text in (code, later)
    }
    assert len(answers) == 1 or not Path("/proc/stat").exists()


def test_a_second_job_of_the_same_parent_does_not_write_into_the_first(tmp_path: Path) -> None:
    environ = {"WORLD_SIZE": "2", "RANK": "0"}
    first = run_folder(tmp_path, "train", environ, NOW)
    first.mkdir(parents=True)
    second = run_folder(tmp_path, "train", environ, NOW)
    assert second.name == "rank0"
    assert second.parent.name == f"{first.parent.name}-2"


def test_a_given_folder_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    assert given_folder(Path("out"), {}) == tmp_path / "out"
    assert given_folder(Path("out"), {"WORLD_SIZE": "2", "RANK": "1"}) == tmp_path / "out/rank1"


def test_a_given_folder_with_a_run_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(UsageError) as caught:
        given_folder(tmp_path, {})
    assert str(caught.value) == (
        f"--out got {str(tmp_path)!r}, which already holds a run; name a new folder, or remove it"
    )
