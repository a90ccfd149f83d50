"""How often the rules are right; `make score` prints it and writes `docs/accuracy.md`.

python -m corpus.scoring [--split tune|score] [--missed]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from corpus.cases import all_cases
from corpus.judging import Judged, judge_all
from corpus.peers import known_figures, percent, rules, tools
from headwater.lab.intervals import Estimate, share
from headwater.rules import RULES

PAGE = Path(__file__).parent.parent / "docs" / "accuracy.md"


@dataclass(frozen=True, kw_only=True)
class Score:
    """The figures of one set of judged cases."""

    harmed: Sequence[Judged]
    healthy: Sequence[Judged]
    harmless: Sequence[Judged]
    unclear: Sequence[Judged]

    @property
    def told(self) -> Sequence[Judged]:
        """Harmed cases of which a fitting alarm was given."""
        return [one for one in self.harmed if one.told is not None]

    @property
    def missed(self) -> Sequence[Judged]:
        """Harmed cases without one."""
        return [one for one in self.harmed if one.told is None]


def score(judged: Sequence[Judged]) -> Score:
    """Sort the cases by what was injected and by what happened."""
    return Score(
        harmed=[one for one in judged if one.harmed],
        healthy=[one for one in judged if one.healthy],
        harmless=[one for one in judged if one.case.faults and not one.harmed],
        unclear=[one for one in judged if not one.case.faults and not one.healthy],
    )


def _share(values: Sequence[bool | None]) -> Estimate:
    return share(np.array([value for value in values if value is not None], dtype=bool))


def headline(found: Score) -> list[tuple[str, str, str]]:
    """Return the figures that the whole is judged by: what, its target, what was measured."""
    firsts = [one.first_alarm for one in found.told]
    at = [value for value in firsts if value is not None]
    early = [any(one.early) for one in found.healthy]
    harmed = found.harmed
    shares = (
        ("harmful faults detected", "97 %", [bool(one.told) for one in harmed]),
        ("harmful faults with any alarm", "", [bool(one.alarms) for one in harmed]),
        ("healthy trainings with an alarm at the end", "1 %",
         [bool(one.alarms) for one in found.healthy]),
        ("healthy trainings with an alarm at some cut before", "", early),
        ("cause right, told first", "85 %", [one.cause_right(1) for one in harmed]),
        ("cause right, among the first two", "95 %", [one.cause_right(2) for one in harmed]),
        ("line right where there is one, of those told", "95 %",
         [one.line_right for one in harmed]),
        ("layer right where one has the fault, of those told", "",
         [one.layer_right for one in harmed]),
    )  # fmt: skip
    first = f"{100 * np.median(at):.0f} %" if at else "none"
    return [
        *((what, target, percent(_share(values))) for what, target, values in shares),
        ("first alarm, median part of the training", "10 %", first),
    ]


def by_fault(found: Score) -> list[list[str]]:
    """Return a row for each fault: how many, detected, causes right, and the first alarm."""
    groups: dict[str, list[Judged]] = defaultdict(list)
    for one in found.harmed:
        groups["+".join(one.case.faults)].append(one)
    rows = []
    for name, cases in groups.items():
        detected = _share([one.told is not None for one in cases])
        firsts = [one.first_alarm for one in cases if one.first_alarm is not None]
        first = f"{100 * np.median(firsts):.0f} %" if firsts else ""
        told = Counter((one.causes or ["nothing"])[0] for one in cases)
        rows.append([
            name, percent(detected), _count([one.cause_right(1) for one in cases]),
            _count([one.cause_right(2) for one in cases]),
            _count([one.line_right for one in cases]), _count([one.layer_right for one in cases]),
            first, ", ".join(f"{cause} {number}" for cause, number in told.most_common(3)),
        ])  # fmt: skip
    return sorted(rows)


def _count(values: Sequence[bool | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{sum(known)}/{len(known)}" if known else ""


def by_rule(found: Score) -> list[list[str]]:
    """Return a row for each rule: detection where it should speak, false alarms, other alarms."""
    rows = []
    for code, rule in RULES.items():
        fits = [one for one in found.harmed if code in one.codes]
        said = [any(alarm.code == code for alarm in one.alarms) for one in fits]
        false = [any(alarm.code == code for alarm in one.alarms) for one in found.healthy]
        others = [one for one in found.harmed if code not in one.codes]
        aside = [any(alarm.code == code for alarm in one.alarms) for one in others]
        rows.append([
            f"{code} {rule.symptom}", percent(_share(said)), percent(_share(false)),
            percent(_share(aside)),
        ])  # fmt: skip
    return rows


def confusion(found: Score) -> list[list[str]]:
    """Return a row for each fault: of its harmful cases, how many had an alarm of each code."""
    codes = list(RULES)
    groups: dict[str, list[Judged]] = defaultdict(list)
    for one in found.harmed:
        groups["+".join(one.case.faults)].append(one)
    groups["healthy"] = list(found.healthy)
    rows = []
    for name, cases in sorted(groups.items(), key=lambda item: (item[0] == "healthy", item[0])):
        told = Counter(code for one in cases for code in {alarm.code for alarm in one.alarms})
        silent = sum(not one.alarms for one in cases)
        rows.append([name, str(len(cases)), *(str(told[code] or "") for code in codes),
                     str(silent or "")])  # fmt: skip
    return rows


def reliability(found: Score) -> list[list[str]]:
    """Return a row for each band of confidence: how often such an alarm fitted."""
    ends = (0.0, 0.55, 0.65, 0.75, 0.85, 0.925, 1.01)
    alarms = [
        (alarm.confidence, one.harmed and alarm.code in one.codes)
        for one in (*found.harmed, *found.healthy)
        for alarm in one.alarms
    ]
    rows = []
    for low, high in pairwise(ends):
        inside = [right for confidence, right in alarms if low <= confidence < high]
        rows.append([f"{low:.2f} to {min(high, 1):.2f}", percent(_share(inside))])
    return rows


def missed_lines(found: Score) -> list[str]:
    """Return a line for each missed case: what it learnt, and what the rules said instead."""
    lines = []
    for one in found.missed:
        others = ", ".join(sorted({alarm.code for alarm in one.alarms}))
        said = f"only {others} spoke. " if others else ""
        why = "; ".join(f"{code} {one.reasons[code]}" for code in sorted(one.codes & set(RULES)))
        lines.append(f"`{one.case.name}` (learnt {one.share_learnt:.0%}): {said}{why}")
    return lines


def false_lines(found: Score) -> list[str]:
    """Return a line for each healthy case with an alarm at its end."""
    return [
        f"`{one.case.name}`: "
        + "; ".join(f"{a.code} ({a.severity}) {a.message}" for a in one.alarms)
        for one in found.healthy
        if one.alarms
    ]


def main() -> None:
    """Judge the recorded corpus, print the figures and write the page."""
    parser = argparse.ArgumentParser(description="score the rules on the recorded corpus")
    parser.add_argument("--split", choices=("tune", "score"), default="score")
    parser.add_argument("--missed", action="store_true", help="list the cases that went wrong")
    options = parser.parse_args()
    start = time.monotonic()
    cases = all_cases().values()
    judged = judge_all(case for case in cases if case.split == options.split)
    found = score(judged)
    for what, target, value in headline(found):
        print(f"{what:52} {value}{f'   (wanted {target})' if target else ''}")
    peers = tools(found.harmed, found.healthy), rules(found.harmed, found.healthy)
    for table in (by_rule(found), by_fault(found), reliability(found), *peers):
        print()
        for row in table:
            print("  ".join(f"{cell:26}" for cell in row).rstrip())
    print("\n" + "\n".join(known_figures(found.harmed, found.healthy)))
    if options.missed:
        print("\n" + "\n".join([*missed_lines(found), "", *false_lines(found)]))
    print(f"{len(judged)} cases judged in {time.monotonic() - start:.0f} s", file=sys.stderr)
    if options.split == "score":
        from corpus.page import page

        PAGE.write_text(page(found), encoding="utf-8")


if __name__ == "__main__":
    main()
