"""`headwater explain`: pages in the terminal, without torch, 80 columns wide."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from headwater.cli.main import main
from headwater.rules import RULES
from headwater.rules.causes import EXPLANATIONS


def told(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["explain", *words]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", [*RULES, *EXPLANATIONS])
def test_every_page_fits_the_terminal(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = told([name], capsys)
    assert text.startswith(name)
    assert max(map(len, text.splitlines())) <= 80


def test_without_a_name_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    text = told([], capsys)
    assert all(f"\n{name} " in f"\n{text}" for name in (*RULES, *EXPLANATIONS))
    assert max(map(len, text.splitlines())) <= 80
    assert json.loads(told(["--json"], capsys)).keys() == {*RULES, *EXPLANATIONS}


def test_json_has_the_sections(capsys: pytest.CaptureFixture[str]) -> None:
    page = json.loads(told(["double-softmax", "--json"], capsys))
    assert page["related"] == ["HW202"]
    assert page["sections"][2] == {"heading": "What to do", "text": "Remove the first.",
                                   "code": False}  # fmt: skip


def test_an_unknown_name_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "dead"]) == 2
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.startswith("headwater: no code or cause 'dead'; nearest: 'dead-units'")
    assert said.err.count("\n") == 1


def test_it_does_not_need_torch() -> None:
    code = (
        "import sys\nfrom headwater.cli.main import main\n"
        "main(['explain', 'HW101'])\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
