"""Blocks on disk: kept as they finish, found again, never mixed, and the same from any worker."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from toy_experiment import TOY

from headwater.errors import ResultsNotKeptError, UsageError
from headwater.lab import results
from headwater.lab.experiments import EXPERIMENTS
from headwater.lab.gallery import write_gallery
from headwater.lab.runner import run
from headwater.lab.workers import Processes


@pytest.fixture
def measured(tmp_path: Path) -> Callable[[], list[str]]:
    """Return what asks which blocks were measured since it was last asked."""
    log = tmp_path / "log"
    log.touch()

    def read() -> list[str]:
        lines = log.read_text().split()
        log.write_text("")
        return lines

    return read


def test_a_second_run_measures_nothing_again(
    tmp_path: Path, measured: Callable[[], list[str]]
) -> None:
    toy = TOY.changed(log=str(tmp_path / "log"))
    first = run(toy, out=tmp_path)
    assert measured() == ["0-3", "4-7", "8-11"]
    second = run(toy, out=tmp_path)
    assert measured() == []
    assert second.resumed == 3
    assert second.tables["members"]["x"].tolist() == first.tables["members"]["x"].tolist()
    assert second.tables["members"]["arm"].tolist() == ["toy"] * 12


def test_more_seeds_measure_only_the_new_ones(
    tmp_path: Path, measured: Callable[[], list[str]]
) -> None:
    toy = TOY.changed(log=str(tmp_path / "log"))
    run(toy, seeds=8, out=tmp_path)
    measured()
    whole = run(toy, seeds=10, offset=2, out=tmp_path)
    assert measured() == ["2-3", "8-11"]  # the block 0-3 is cut by the offset
    assert whole.tables["members"]["seed"].tolist() == list(range(2, 12))


def test_other_settings_never_meet_in_a_table(
    tmp_path: Path, measured: Callable[[], list[str]]
) -> None:
    toy = TOY.changed(log=str(tmp_path / "log"))
    one = run(toy, out=tmp_path)
    other = run(toy.changed(scale=2.0), out=tmp_path)
    assert len(measured()) == 6
    assert other.tables["members"]["x"][0] == 2 * one.tables["members"]["x"][0]


def test_only_code_that_measures_decides_what_is_measured_again() -> None:
    circles = {file.stem for file in results._sources(EXPERIMENTS["xavier-rescues-tanh"])}
    assert {"circles", "ensemble", "network", "lanes"} <= circles
    assert not {"recurrent", "pictures", "claims", "gallery"} & circles
    assert "recurrent" in {file.stem for file in results._sources(EXPERIMENTS["through-time"])}


def test_another_release_of_a_library_measures_again(
    tmp_path: Path, measured: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = TOY.changed(log=str(tmp_path / "log"))
    run(toy, out=tmp_path)
    monkeypatch.setattr(results, "_version", lambda _library: "99")
    run(toy, out=tmp_path)
    assert len(measured()) == 6


def test_a_disk_that_fills_in_the_middle_keeps_what_was_done(
    tmp_path: Path, measured: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    toy, write = TOY.changed(log=str(tmp_path / "log")), pq.write_table

    def full(table: object, path: Path) -> None:
        if ".4-8." in str(path):
            path.write_bytes(b"half a fi")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(table, path)

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(ResultsNotKeptError, match=r"No space left on device; 1 of 3 blocks"):
        run(toy, out=tmp_path)
    monkeypatch.undo()
    assert measured() == ["0-3", "4-7"]
    assert not list((tmp_path / "toy").rglob("*4-8*"))
    assert run(toy, out=tmp_path).resumed == 1
    assert measured() == ["4-7", "8-11"]


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResultsNotKeptError, match="toy stopped: Not a directory; 0 of 3"):
        run(TOY, out=tmp_path / "file")


def test_a_damaged_block_is_measured_again(
    tmp_path: Path, measured: Callable[[], list[str]]
) -> None:
    toy = TOY.changed(log=str(tmp_path / "log"))
    run(toy, out=tmp_path)
    measured()
    (block,) = (tmp_path / "toy").glob("blocks-*/4-8/members.parquet")
    block.write_bytes(block.read_bytes()[:100])
    run(toy, out=tmp_path)
    assert measured() == ["4-7"]


def test_processes_give_the_same_numbers(tmp_path: Path) -> None:
    here = run(TOY, out=tmp_path / "here")
    there = run(TOY, out=tmp_path / "there", workers=Processes(jobs=2))
    assert here.tables["members"]["x"].tobytes() == there.tables["members"]["x"].tobytes()


def test_a_process_that_dies_leaves_the_finished_blocks(tmp_path: Path) -> None:
    toy = TOY.changed(die_once=str(tmp_path / "died"))
    with pytest.raises(ResultsNotKeptError, match="a process that measured died"):
        run(toy, out=tmp_path, workers=Processes(jobs=1))
    assert run(toy, out=tmp_path, workers=Processes(jobs=1)).verdict.answer == "cannot say"


def test_no_seeds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="toy got 0 seeds from 0 on; it takes at least one"):
        run(TOY, seeds=0, out=tmp_path)
    with pytest.raises(UsageError, match="from -3 on"):
        run(TOY, offset=-3, out=tmp_path)
    with pytest.raises(UsageError, match="no setting 'scael'; it has scale, epochs"):
        TOY.changed(scael=1)


def test_the_folder_holds_tables_verdict_and_pictures(tmp_path: Path) -> None:
    run(TOY, out=tmp_path)
    assert pq.read_table(tmp_path / "toy" / "members.parquet").num_rows == 12
    verdict = json.loads((tmp_path / "toy" / "verdict.json").read_text())
    assert verdict["name"] == "toy"
    assert verdict["seeds"] == [0, 12]
    assert verdict["assertions"][0]["band"] == [-0.5, 0.5]
    for style in ("light", "dark"):
        assert (tmp_path / "toy" / f"toy-{style}.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_results_draw_the_same_bytes(tmp_path: Path) -> None:
    first = run(TOY, out=tmp_path / "a").folder / "toy-dark.png"
    second = run(TOY, out=tmp_path / "b").folder / "toy-dark.png"
    assert first.read_bytes() == second.read_bytes()


def test_a_page_tells_claim_numbers_and_doubts(tmp_path: Path) -> None:
    outcome = run(TOY, out=tmp_path / "results")
    (page,) = write_gallery([outcome], tmp_path / "gallery")
    text = page.read_text()
    for words in (TOY.claim, "The mean is", "-0.5 to 0.5", "Gauss (1809)", "toy-dark.png",
                  "headwater lab run toy --seeds 12"):  # fmt: skip
        assert words in text
    assert "[toy](toy.md)" in (tmp_path / "gallery" / "README.md").read_text()
