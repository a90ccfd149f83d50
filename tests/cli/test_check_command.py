"""`headwater check`: what it prints, its exit codes, and what it says of wrong input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headwater.cli.main import main

NETWORKS = """
import torch
from torch import nn

def sigmoid():
    return nn.Sequential(*[m for _ in range(30) for m in (nn.Linear(32, 32), nn.Sigmoid())])

def healthy():
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 4))
    return model, (torch.randn(16, 8), torch.randint(4, (16,))), nn.CrossEntropyLoss()

def broken():
    raise KeyError("weights")

number = 3
"""


@pytest.fixture
def networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("networks.py").write_text(NETWORKS, encoding="utf-8")
    return "networks.py"


def test_it_shows_layers_gains_formats_and_findings(
    networks: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", f"{networks}:sigmoid", "--draws", "2"]) == 0
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert lines[0] == "Sequential: 2 draws on a made-up batch of 64 × 32"
    assert all(len(line) <= 80 for line in lines)
    assert "⋮" in shown
    assert "HW101 vanishing-gradient" in shown
    assert "keeps the gradient" in shown
    assert "float16 0 from" in shown


def test_findings_fail_a_build_that_asks_for_it(networks: str) -> None:
    assert main(["check", f"{networks}:sigmoid", "--draws", "1", "--fail-on", "error"]) == 3
    assert main(["check", f"{networks}:healthy", "--draws", "1", "--fail-on", "warning"]) == 0


def test_json_has_every_layer(networks: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", f"{networks}:sigmoid", "--draws", "1", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert len(data["layers"]) == 30
    assert data["layers"][0]["gradient"] < -15
    assert data["findings"][0]["code"] == "HW101"


def test_a_factory_may_bring_its_batch_and_loss(
    networks: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", f"{networks}:healthy"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(
        "Sequential: 5 draws on the batch of 16 × 8\nThe gradient starts from the loss"
    )
    assert "healthy: the gradient reaches every layer" in shown


@pytest.mark.parametrize(
    ("name", "codes"), [("deep_sigmoid", ["HW101"]), ("deep_relu", []), ("residual_cnn", [])]
)
def test_the_examples_are_what_their_readme_says(
    name: str, codes: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(__file__).parents[2] / "examples" / "untrained" / "networks.py"
    assert main(["check", f"{path}:{name}", "--draws", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["findings"]
    assert [finding["code"] for finding in found] == codes


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("networks.py", "it takes FILE:FACTORY, as in model.py:build"),
        ("network.py:sigmoid", "no script 'network.py'; did you mean 'networks.py'?"),
        ("networks.py:sigmod", "networks.py has no 'sigmod'; did you mean 'sigmoid'?"),
        ("networks.py:number", "is int; it takes a function that returns a module"),
        ("networks.py:broken", "networks.py:broken raised KeyError: 'weights' (networks.py:13)"),
    ],
)
def test_wrong_input_is_one_line(
    networks: str, spec: str, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", spec]) == 2
    told = capfd.readouterr()
    assert told.out == ""
    assert message in told.err
    assert told.err.count("\n") == 1
