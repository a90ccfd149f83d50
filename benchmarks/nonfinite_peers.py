"""Broken programs, and who names the operation and the line: Headwater, and torch's own detector.

    python benchmarks/nonfinite_peers.py [FILE]

Runs every program of tests/nonfinite as ``headwater run`` does, those of which it is not sure once
more with ``--rewind``, and all under ``torch.autograd.detect_anomaly(check_nan=True)``; scores the
answers alike, and writes the table of docs/nonfinite.md between its two marks. Ten minutes at most.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "tests" / "nonfinite"
PAGE = ROOT / "docs" / "nonfinite.md"
BEGIN, END = "<!-- table -->", "<!-- end of the table -->"
sys.path.insert(0, str(FOLDER))

from breaking import Program, broken, healthy  # noqa: E402
from scoring import SURE, Score, of_the_detector, ours, score  # noqa: E402


def told(way: str, programs: Sequence[Program]) -> dict[str, dict[str, Any]]:
    """Return what each program left, run in one of the fleet's ways."""
    if not programs:
        return {}
    done = subprocess.run(
        [sys.executable, str(FOLDER / "fleet.py"), way, *(str(each.path) for each in programs)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return {each["name"]: each for each in answers}


def main() -> None:
    """Run, score, and write the page."""
    page = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    programs = broken()
    first = told("observed", programs)
    mine = {each.name: score(each, ours(first[each.name])) for each in programs}
    unsure = [each for each in programs if mine[each.name].answer.confidence < SURE]
    again = told("rewound", unsure)
    live = {each.name: score(each, ours(again[each.name])) for each in unsure}
    raised = told("anomalies", programs)
    theirs = {
        each.name: score(each, of_the_detector(raised[each.name]), phases=False)
        for each in programs
    }
    quiet = told("observed", healthy())
    alarms = [n for n, each in quiet.items() if any(f["code"] == "HW301" for f in each["findings"])]
    stopped = [n for n, each in told("anomalies", healthy()).items() if each["code"]]
    text = "\n".join(
        [
            *_summary(programs, mine, live, theirs),
            "",
            f"Of {len(quiet)} programs with extreme numbers or harmless infinities, "
            f"`headwater run` reports {len(alarms)}, and `detect_anomaly` stops {len(stopped)}"
            f"{' (' + ', '.join(stopped) + ')' if stopped else ''}.",
            "",
            f"{len(programs)} programs; torch {torch.__version__}, {platform.machine()}.",
            "",
            *_rows(programs, mine, live, theirs),
        ]
    )
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}")


Scores = dict[str, Score]


def _summary(programs: Sequence[Program], mine: Scores, live: Scores, theirs: Scores) -> list[str]:
    rewound = {**mine, **live}
    columns = [("headwater run", mine), ("with --rewind", rewound), ("detect_anomaly", theirs)]
    lines = ["| | " + " | ".join(f"`{name}`" for name, _ in columns) + " |", "| --- " * 4 + "|"]
    counts = {
        "operation and line right": lambda each: each.right,
        "line right": lambda each: each.line and each.answer.confidence >= SURE,
        "wrong, and said with confidence": lambda each: each.misleads,
        "nothing said, or said to be unsure": lambda each: not each.right and not each.misleads,
    }
    for what, holds in counts.items():
        values = [str(sum(holds(scores[p.name]) for p in programs)) for _, scores in columns]
        lines.append(f"| {what} | {' | '.join(values)} |")
    return lines


def _rows(programs: Sequence[Program], mine: Scores, live: Scores, theirs: Scores) -> list[str]:
    lines = [
        "| program | what breaks | `headwater run` | `detect_anomaly(check_nan=True)` |",
        "| --- | --- | --- | --- |",
    ]
    for program in programs:
        own = _cell(mine[program.name])
        if program.name in live:
            own += f"; `--rewind`: {_cell(live[program.name])}"
        wanted = f"{program.expected}, line {program.line}"
        other = _cell(theirs[program.name])
        lines.append(f"| [{program.name}]({_link(program)}) | {wanted} | {own} | {other} |")
    return lines


def _link(program: Program) -> str:
    return f"../{program.path.relative_to(ROOT)}"


def _cell(found: Score) -> str:
    if found.right:
        return "right"
    if not found.misleads:
        return "unsure" if found.answer.note and found.answer.confidence else "nothing"
    return f"wrong: {re.sub(r'^backward ', '', found.answer.words)}"


if __name__ == "__main__":
    main()
