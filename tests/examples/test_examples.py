"""The examples are what examples/README.md says they are, and headwater finds what it says."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
HEADWATER = [sys.executable, "-m", "headwater", "run"]
ROW = re.compile(r"^\| `(\S+\.py)` \| .* \| (sick|healthy) \| (.*?) ?\|$", re.M)
ROWS = {
    name: (state, set(re.findall(r"HW\d+", codes)))
    for name, state, codes in ROW.findall((EXAMPLES / "README.md").read_text())
}


def test_the_table_lists_every_example_and_nothing_else() -> None:
    assert sorted(ROWS) == sorted(path.name for path in EXAMPLES.glob("*.py"))


def test_sick_examples_have_codes_and_healthy_ones_none() -> None:
    assert {name: bool(codes) for name, (_, codes) in ROWS.items()} == {
        name: state == "sick" for name, (state, _) in ROWS.items()
    }


@pytest.mark.parametrize("name", ROWS)
def test_an_example_imports_torch_and_numpy_only(name: str) -> None:
    imported = set()
    for node in ast.walk(ast.parse((EXAMPLES / name).read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module).partition(".")[0])
    assert imported <= {"torch", "numpy"}


@pytest.mark.parametrize("name", ROWS)
def test_headwater_finds_what_the_table_says(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    done = subprocess.run(
        # A fixed cadence: what the budget allows depends on how busy the machine is.
        [*HEADWATER, "--every", "20", "--out", str(folder), str(EXAMPLES / name)],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "loss" in done.stdout
    record = json.loads((folder / "run.json").read_text())
    assert record["observation"]["status"] == "complete", record["observation"]["reason"]
    assert record["expressions"] == []
    findings = json.loads((folder / "findings.json").read_text())
    assert {finding["code"] for finding in findings} == ROWS[name][1], done.stderr
