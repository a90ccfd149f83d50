from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import headwater
from headwater.cli import demo
from headwater.cli.main import main
from headwater.demo import two_circles


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Path]:
    """Return what the whole demo writes to stdout and stderr, and where it ran."""
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [sys.executable, "-m", "headwater", "demo"],
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return done.stdout, done.stderr, folder


def findings(folder: Path, weights: str) -> list[dict[str, object]]:
    (record,) = folder.glob(f"headwater-runs/*-demo-{weights}")
    run = headwater.Run.open(record)
    assert run.info.observation["status"] == "complete"
    return list(json.loads((record / "findings.json").read_text()))


def test_the_sick_network_is_found_sick_at_its_tanh_lines(told: tuple[str, str, Path]) -> None:
    found = findings(told[2], "uniform")
    source = Path(two_circles.__file__).read_text().splitlines()
    tanh = {n for n, line in enumerate(source, start=1) if "torch.tanh(self." in line}

    lines = {
        where["line"]
        for finding in found
        if finding["code"] in ("HW101", "HW104", "HW107")
        for where in finding["where"]  # type: ignore[attr-defined]
    }
    assert lines
    assert lines <= tanh
    assert any(f":{line}" in told[0] for line in lines)


def test_the_healthy_network_is_found_healthy(told: tuple[str, str, Path]) -> None:
    assert findings(told[2], "xavier") == []
    assert "healthy: nothing found" in told[0]


def test_only_the_healthy_network_learns(told: tuple[str, str, Path]) -> None:
    first, second = (line for line in told[0].splitlines() if "on new points" in line)
    assert first.startswith("It does not learn: ")
    assert second.startswith("It learns: ")


def test_away_from_a_terminal_it_is_plain_and_fits_80_columns(told: tuple[str, str, Path]) -> None:
    assert "\x1b" not in told[0]
    assert max(map(len, told[0].splitlines())) <= 80
    assert told[1] == ""  # no progress bar either


def test_json_gives_accuracies_and_findings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "EPOCHS", 4)
    assert main(["demo", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [each["weights"] for each in data] == ["uniform", "xavier"]
    for each in data:
        assert 0.3 < each["test_accuracy"] < 0.9
        written = json.loads((Path(each["run"]) / "findings.json").read_text())
        assert [f["code"] for f in each["findings"]] == [f["code"] for f in written]


def test_a_folder_that_cannot_be_written_is_said_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "headwater-runs").write_text("in the way")
    assert main(["demo"]) == 2
    said = capfd.readouterr().err
    assert "cannot make" in said
    assert "start the demo in a folder where" in said


def test_a_training_that_fails_is_a_fault_and_says_how_to_see_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "EPOCHS", "none")
    monkeypatch.setattr(demo, "WEIGHTS", {"uniform": "all weights from U[0, 1]"})
    assert main(["demo"]) == 70
    assert "exit code 2" in capfd.readouterr().err
