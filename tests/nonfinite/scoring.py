"""What was said of a program, held against what is expected of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from breaking import Program

SURE = 0.5
"""A line that is given with a higher confidence than this must be right."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a tool said about one program; an empty operation and line 0 where it said nothing."""

    operation: str = ""
    phase: str = ""
    cause: str = ""
    file: str = ""
    line: int = 0
    confidence: float = 0.0
    note: str = ""

    @property
    def words(self) -> str:
        if not self.phase and not self.operation:
            return "nothing"
        at = f" {Path(self.file).name}:{self.line}" if self.line else ""
        return f"{self.phase} {self.operation}".strip() + at


@dataclass(frozen=True, kw_only=True)
class Score:
    """Which parts of an answer are right."""

    program: Program
    answer: Answer
    operation: bool
    line: bool
    cause: bool

    @property
    def right(self) -> bool:
        return self.operation and self.line

    @property
    def misleads(self) -> bool:
        """Whether a wrong line, or a line where there is none to name, is given as certain."""
        return not self.right and self.answer.confidence > SURE


def score(program: Program, answer: Answer, *, phases: bool = True) -> Score:
    """Hold an answer against what is expected: data and updates are told by their phase.

    Without ``phases``, whether the fault is of the forward or the backward pass is not asked of
    a tool that looks at one of them only.
    """
    named = program.is_operation(answer.operation) and (
        program.is_phase(answer.phase) or not (phases or "-" in program.operations)
    )
    return Score(
        program=program,
        answer=answer,
        operation=named,
        line=program.is_line(answer.file, answer.line) if program.asks_for_line else named,
        cause=named and program.is_cause(answer.cause),
    )


def ours(told: Mapping[str, Any]) -> Answer:
    """Return what HW301 said, from the findings and the record's faults."""
    for finding in told.get("findings") or ():
        if finding["code"] != "HW301":
            continue
        faults = told.get("faults") or ()
        sure = [each for each in faults if each["confidence"] >= SURE] or faults[:1]
        if not sure:
            return Answer(phase="seen", confidence=0.0, note=finding["message"])
        fault = sure[0]
        where = finding["where"][0] if fault["confidence"] >= SURE else fault["where"]
        place = where if where["file"] else fault["where"]
        return Answer(
            operation=fault["operation"],
            phase=fault["phase"] or "",
            cause=finding["causes"][0]["cause"] if finding["causes"] else fault["cause"],
            file=place["file"],
            line=place["line"],
            confidence=fault["confidence"],
            note=fault["note"],
        )
    return Answer(note=str(told.get("stderr", ""))[-300:])


def of_the_detector(told: Mapping[str, Any]) -> Answer:
    """Return what ``detect_anomaly`` said: the node it raised about, and the forward's last line.

    That line is the innermost of the user's, as it prints a traceback of the forward call.
    """
    text = told["stderr"]
    raised = re.search(r"Function '(\w+?)(?:Backward\w*)?' returned nan values", text)
    if raised is None:
        return Answer()
    forward = text.partition("Error detected in")[2].partition("(Triggered internally")[0]
    backward = "Error detected in" not in text
    lines = re.findall(r'File "([^"]+)", line (\d+)', "" if backward else forward)
    own = [(file, int(line)) for file, line in lines if "/nonfinite/broken/" in file]
    file, line = own[-1] if own else ("", 0)
    return Answer(
        operation=_plain(raised[1]), phase="backward", file=file, line=line, confidence=1.0
    )


def _plain(node: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", node).lower()
    return {"addmm": "linear", "linalg_vector_norm": "norm", "log_2": "log2"}.get(words, words)


def table(scores: Sequence[Score]) -> str:
    """Return how many are right, and the ones that are not."""
    right = sum(each.right for each in scores)
    causes = sum(each.cause for each in scores)
    lines = [f"{right} of {len(scores)} operations and lines right, {causes} causes"]
    for each in scores:
        if not each.right or not each.cause:
            line = f"{each.program.file.name if each.program.file else ''}:{each.program.line}"
            lines.append(
                f"{'MISLEADS ' if each.misleads else ''}{each.program.name}: wanted "
                f"{each.program.expected} {line} {'/'.join(each.program.causes)}; got "
                f"{each.answer.words} {each.answer.cause} ({each.answer.confidence:g}) "
                f"{each.answer.note}"
            )
    return "\n".join(lines)
