"""docs/cli.md says what the commands say of themselves, and nothing they do not have."""

from __future__ import annotations

import re
from argparse import Action
from pathlib import Path

import pytest

from headwater.cli.main import COMMANDS, Entry, command_parser

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def section(name: str) -> str:
    match = re.search(rf"^## headwater {name}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S)
    assert match is not None, f"docs/cli.md has no section '## headwater {name}'"
    return match[1]


def rows(entry: Entry) -> list[str]:
    """Return a table's rows, one for each word or option of a command."""
    parser = command_parser(entry, entry.load())
    return [row(action) for action in parser._actions if action.dest != "help"]


def row(action: Action) -> str:
    choices = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else ""
    value = "" if action.nargs == 0 else str(action.metavar or choices or action.dest.upper())
    name = " ".join([*action.option_strings, value] if value else action.option_strings)
    return f"| `{name}` | {str(action.help).replace('%%', '%')} |"


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_every_command_has_a_section_with_every_option(entry: Entry) -> None:
    text = section(entry.name)
    assert f"    headwater {entry.name} {entry.words}".rstrip() in text.splitlines()
    assert [line for line in text.splitlines() if line.startswith("| `")] == rows(entry)


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_every_option_is_explained(entry: Entry) -> None:
    assert not [line for line in rows(entry) if line.endswith(("| None |", "|  |"))]


def test_no_section_is_for_a_command_that_is_not_there() -> None:
    names = re.findall(r"^## headwater (\S+)$", PAGE.read_text(), re.M)
    assert names == [entry.name for entry in COMMANDS]
