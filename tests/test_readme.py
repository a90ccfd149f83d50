"""README.md names what is there, and shows what the demo printed."""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headwater.cli.main import COMMANDS

HOUSE = Path(__file__).parents[1]
README = (HOUSE / "README.md").read_text(encoding="utf-8")
MAKEFILE = (HOUSE / "Makefile").read_text(encoding="utf-8")
FILL: dict[str, Any] = runpy.run_path(str(HOUSE / "docs" / "fill_readme.py"))


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *map(str, (HOUSE / "docs").glob("*.md"))]
)
def test_links_lead_somewhere(page: str) -> None:
    path = HOUSE / page
    links = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_table_of_commands_is_complete() -> None:
    listed = re.findall(r"^\| `headwater (\w+)", README, re.M)
    assert listed == [entry.name for entry in COMMANDS]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "benchmarks/README.md"])
def test_every_make_target_named_is_there(page: str) -> None:
    named = set(re.findall(r"(?:`|    )make ([\w-]+)", (HOUSE / page).read_text(encoding="utf-8")))
    assert named
    assert named <= set(re.findall(r"^([\w-]+):", MAKEFILE, re.M))


def test_the_demo_shown_is_the_demos_output() -> None:
    shown = README.partition(FILL["START"])[2].partition(FILL["END"])[0]
    assert shown.startswith("```text\n")
    for words in ("It does not learn", "two_circles.py:", "It learns", "healthy: nothing found"):
        assert words in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_filling_changes_only_what_stands_between_the_markers() -> None:
    filled: Callable[[str, str], str] = FILL["filled"]
    again = filled(README, "new")
    assert "```text\nnew\n```" in again
    assert filled(again, "newer") == filled(README, "newer")
    with pytest.raises(ValueError, match="<!-- demo -->"):
        filled("no markers", "new")
