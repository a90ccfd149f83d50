"""The programs of this folder, and what is expected of each.

A program of ``broken/`` says what is wrong with it in comments:

- ``# expect: OPERATIONS PHASES CAUSES``: alternatives stand with a ``|``, ``*`` is anything, and
  ``-`` is no operation at all, as where the data or an update is at fault;
- ``# born here`` ends the line on which the numbers break; ``# or here`` one that is as right, as
  where bad data are made, and where they are met first;
- ``# in: FILE`` names the file that holds this line, if it is not the program;
- ``# needs: compiler`` says that it takes a compiler of C++ and several seconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Program:
    """A script, and where and why its numbers break; without operations it is healthy."""

    path: Path
    operations: frozenset[str] = frozenset()
    phases: frozenset[str] = frozenset()
    causes: frozenset[str] = frozenset()
    file: Path | None = None
    line: int = 0
    others: frozenset[int] = frozenset()
    needs_compiler: bool = False

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def expected(self) -> str:
        operation = "/".join(sorted(self.operations - {"-"}))
        return f"{'/'.join(sorted(self.phases))} {operation}".replace("*", "").strip()

    def is_operation(self, found: str) -> bool:
        return "-" in self.operations or found in self.operations

    def is_phase(self, found: str) -> bool:
        return "*" in self.phases or found in self.phases

    def is_cause(self, found: str) -> bool:
        return "*" in self.causes or found in self.causes

    def is_line(self, file: str, line: int) -> bool:
        """Whether a place is where the numbers break."""
        return Path(file) == self.file and line in {self.line, *self.others}

    @property
    def asks_for_line(self) -> bool:
        """Whether there is a line to name: an update has parameters, not a line."""
        return "update" not in self.phases


@cache
def broken() -> tuple[Program, ...]:
    """Return the programs whose numbers break."""
    return tuple(_read(path) for path in sorted((HERE / "broken").glob("*.py")))


@cache
def healthy() -> tuple[Program, ...]:
    """Return the programs whose numbers are extreme, or infinite on purpose."""
    return tuple(Program(path=path) for path in sorted((HERE / "healthy").glob("*.py")))


def _read(path: Path) -> Program:
    text = path.read_text()
    words = _said(text, "expect").split()
    operations, phases, causes = (frozenset(word.split("|")) for word in words)
    elsewhere = _said(text, "in")
    file = path.parent / elsewhere if elsewhere else path
    marked = list(enumerate(file.read_text().splitlines(), 1))
    lines = [number for number, line in marked if "# born here" in line]
    if len(lines) != 1:
        raise ValueError(f"{path.name} has {len(lines)} lines marked as born here; it needs 1")
    return Program(
        path=path,
        operations=operations,
        phases=phases,
        causes=causes,
        file=file,
        line=lines[0],
        others=frozenset(number for number, line in marked if "# or here" in line),
        needs_compiler=_said(text, "needs") == "compiler",
    )


def _said(text: str, what: str) -> str:
    found = re.search(rf"^# {what}: (.*)$", text, re.MULTILINE)
    return found[1] if found else ""
