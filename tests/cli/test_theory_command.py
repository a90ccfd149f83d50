"""`headwater theory`: numbers on stdout, a picture in a file, errors in a line."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest

from headwater.cli.main import main
from headwater.theory import CATALOGUE


def told(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["theory", *words]) == 0
    return capsys.readouterr().out


def test_calculate_gains_tanh_explodes(capsys: pytest.CaptureFixture[str]) -> None:
    words = told(["tanh", "--sigma-w", str(5 / 3)], capsys)
    assert "1.09992 times a layer" in words
    assert "chaotic: gradients explode" in words


def test_a_sigmoid_is_said_to_die_in_half_precision(capsys: pytest.CaptureFixture[str]) -> None:
    words = told(["sigmoid", "--sigma-w", "1", "--dtype", "float16"], capsys)
    assert "the logit x = log(p / (1 - p)) solved for p" in words
    assert "float16         exactly 0 from layer 38 down" in words
    assert "bfloat16" not in words


def test_json_holds_the_same_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(told(["relu", "--depth", "30", "--width", "100", "--json"], capsys))
    assert data["gains"]["gradient"] == pytest.approx(math.sqrt(2))
    assert data["network"]["fate"] == "any"
    assert data["network"]["decades_high"] > 0 > data["network"]["decades_low"]
    assert data["network"]["formats"]["float16"] == {"fate": "never", "layer": None}


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_activation_has_an_answer(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = told([name, "--depth", "3", "--sigma-w", "1.2", "--sigma-b", "0.1"], capsys)
    assert "nan" not in words
    assert "decades" in words


def test_low_confidence_is_said_near_a_half_stable_point(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = told(["gelu", "--sigma-w", str(math.sqrt(2))], capsys)
    assert "low: a half-stable point is near" in words


def test_an_unknown_activation_is_a_wrong_word(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["theory", "sigmoide"]) == 2
    assert "no activation 'sigmoide'; nearest: " in capfd.readouterr().err


@pytest.mark.parametrize(
    "words", [["--sigma-w", "0"], ["--sigma-b", "-1"], ["--depth", "0"], ["--width", "many"]]
)
def test_options_that_make_no_sense_are_refused(
    words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["theory", "tanh", *words])
    assert "it takes" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["tanh", "gelu", "relu", "relu6", "sigmoid"])
@pytest.mark.parametrize("kind", ["png", "svg"])
def test_a_picture_is_drawn(
    name: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / f"{name}.{kind}"
    told([name, "--plot", str(file), "--depth", "5"], capsys)
    start = file.read_bytes()[:200]
    assert b"PNG" in start if kind == "png" else b"<svg" in start or b"<?xml" in start


def test_a_picture_that_cannot_be_written_is_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    assert main(["theory", "tanh", "--plot", str(tmp_path / "x.doc"), "--depth", "2"]) == 2
    assert "--plot cannot write" in capfd.readouterr().err


def test_without_matplotlib_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    assert main(["theory", "tanh", "--plot", str(tmp_path / "x.png")]) == 2
    assert "pip install 'headwater[plot]'" in capfd.readouterr().err
