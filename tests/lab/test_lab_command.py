"""`headwater lab`: claims, verdicts, and errors in a line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from headwater.cli.main import main
from headwater.lab.experiments import EXPERIMENTS


def test_list_shows_every_claim(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(EXPERIMENTS)
    assert any(
        line.split("  ")[0] == "softmax" and EXPERIMENTS["softmax"].claim in line for line in lines
    )


def test_run_prints_the_verdict_with_its_intervals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["lab", "run", "born-dead", "two-circles", "--seeds", "60", "--out", str(tmp_path)]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert "born-dead: holds (seeds 0 to 59)" in out
    assert "two-circles: holds (exact)" in out
    assert "of 2400; band" in out
    assert err == ""  # a bar would stand here, were it a terminal


def test_json_is_a_list_of_verdicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "run", "softmax", "--json", "--out", str(tmp_path)]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["answer"] == "holds"
    assert told["assertions"][0]["where"] == {"dtype": "float16"}
    assert told["seeds"] is None


def test_epochs_change_the_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["lab", "run", "xavier-rescues-tanh", "--epochs", "5", "--seeds", "16", "--json"]
    assert main([*words, "--seed-offset", "7", "--out", str(tmp_path)]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["settings"]["epochs"] == 5
    assert told["seeds"] == [7, 23]
    assert told["answer"] == "does not hold"  # nobody learns in five


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "dying-rely"], "no experiment 'dying-rely'; nearest: 'dying-relu'"),
        (["run"], "lab run got no name"),
        (["list", "softmax"], "lab list takes no names, got 'softmax'"),
        (["run", "softmax", "--epochs", "3"], "softmax does not train by epochs"),
    ],
)
def test_wrong_words_are_told_in_a_line(
    words: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["lab", *words]) == 2
    assert said in capfd.readouterr().err


@pytest.mark.parametrize(
    "words", [["--seeds", "0"], ["--seeds", "few"], ["--seed-offset", "-1"], ["--jobs", "0"]]
)
def test_numbers_that_make_no_sense_are_refused(
    words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["lab", "run", "softmax", *words])
    assert "it takes a whole number from" in capfd.readouterr().err


def test_the_list_loads_neither_torch_nor_numba() -> None:
    code = (
        "import sys; from headwater.cli.main import main; main(['lab', 'list']); "
        "print({'torch', 'numba', 'sklearn', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize("library", ["sklearn.datasets", "matplotlib"])
def test_a_missing_library_says_what_to_install(
    library: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from headwater.lab.datasets import two_circles

    two_circles.cache_clear()
    monkeypatch.setitem(sys.modules, library, None)
    assert main(["lab", "run", "two-circles", "--out", str(tmp_path)]) == 2
    assert "pip install 'headwater[lab]'" in capfd.readouterr().err


def test_without_ray_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["lab", "run", "softmax", "--ray", "--out", str(tmp_path)]) == 2
    assert "pip install 'headwater[ray]'" in capfd.readouterr().err
