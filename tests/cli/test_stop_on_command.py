"""`headwater run --stop-on` and `--keep-state`: how a script ends, what is said, what is left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_run_command import run

from headwater.cli.main import main
from headwater.runs.reader import Run
from headwater.watch import options
from headwater.watch.kept import load_state

BREAKING = """
    import torch
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    inputs = torch.randn(64, 8)
    try:
        for step in range(40):
            out = model(inputs)
            loss = (out * (step < 7)).square().mean().log()
            loss.backward()
            for parameter in model.parameters():
                parameter.data -= 0.01 * parameter.grad
                parameter.grad = None
            print(step)
    finally:
        print("tidied up")
    print("not reached")
"""
LINE = next(number for number, line in enumerate(BREAKING.splitlines(), 1) if ".log()" in line)


def test_the_script_ends_at_the_step_that_breaks_with_code_3(tmp_path: Path) -> None:
    ended = run(tmp_path, BREAKING, "--stop-on", "non-finite", "--keep-state", "--out", "r")
    assert ended.code == 3
    assert ended.stdout.split() == [*map(str, range(7)), "tidied", "up"]
    stopped, observed, found, following = ended.lines
    assert stopped == (
        "headwater: the training ends at step 7: the loss is not finite, "
        f"by log at train.py:{LINE} (--stop-on non-finite)"
    )
    assert observed.startswith("headwater: observed 8 steps, ")
    assert found.startswith("headwater: error HW301 non-finite: At step 7 log at train.py")
    assert following == "headwater: next: headwater show r"

    record = Run.open(tmp_path / "r")
    assert record.info.exit == {"code": 3, "exception": None}
    assert record.info.observation["status"] == "complete"
    assert record.pulse["step"].to_pylist() == list(range(8))
    (finding,) = json.loads((tmp_path / "r" / "findings.json").read_text())
    assert (finding["code"], finding["where"][0]["line"]) == ("HW301", LINE)
    state = load_state(record)
    assert (state.step, state.batch["inputs"].shape, state.batch["step"]) == (7, (64, 8), 7)


def test_a_script_that_catches_its_end_is_still_told_as_ended(tmp_path: Path) -> None:
    script = BREAKING.replace("    finally:", "    except BaseException:")
    ended = run(tmp_path, script, "--stop-on", "non-finite", "--json", "--quiet")
    assert ended.code == 3
    assert ended.stdout.split("not reached\n")[0].endswith("tidied up\n")
    assert [each["code"] for each in json.loads(ended.stdout.split("not reached\n")[1])] == [
        "HW301"
    ]
    (line,) = ended.lines  # said even then: the script did not end by itself
    assert line.startswith("headwater: the training ends at step 7: ")


def test_a_wrong_word_is_answered_with_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["run", "--stop-on", "nan", "train.py"])
    assert caught.value.code == 2
    assert "argument --stop-on: invalid choice: 'nan' (choose from" in capsys.readouterr().err


def test_without_safetensors_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.py").write_text("raise SystemExit(9)\n")
    monkeypatch.setattr(options, "find_spec", lambda name: None)
    assert main(["run", "--keep-state", str(tmp_path / "train.py")]) == 2
    assert capfd.readouterr().err == (
        "headwater: --keep-state needs safetensors; pip install 'headwater[state]'\n"
    )
