"""Count how often alarms of the tune half are right, and write it where the rules read it."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from corpus.cases import Case, all_cases
from corpus.judging import what_became
from corpus.recording import folder_of, outdated
from headwater.rules import counts, judge_as_felt
from headwater.rules.reliability import Key, key
from headwater.runs.reader import Run

_WRITTEN = Path(counts.__file__)


def alarms(case: Case) -> Sequence[tuple[Key, bool]]:
    """Return each alarm's group, and whether it names a symptom of a fault that did harm.

    Cases that count for neither, harmed nor healthy, have none.
    """
    became = what_became(case)
    if not became.harmed and not became.healthy:
        return ()
    found = [
        one for verdict in judge_as_felt(Run.open(folder_of(case))) for one in verdict.findings
    ]
    return [
        (key(one), became.harmed and one.code in became.codes)
        for one in found
        if one.severity != "info"
    ]


def main() -> None:
    """Judge the recorded cases of the tune half and rewrite the table of counts."""
    cases = [case for case in all_cases().values() if case.split == "tune" and not outdated(case)]
    told: dict[Key, int] = defaultdict(int)
    right: dict[Key, int] = defaultdict(int)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(alarms, cases, chunksize=8):
            for group, fits in found:
                told[group] += 1
                right[group] += fits
    text = _WRITTEN.read_text(encoding="utf-8")
    head = text[: text.index("COUNTS: Mapping")]
    rows = [f'    ("{c}", "{s}", {f:.2f}): ({right[c, s, f]}, {n}),' for (c, s, f), n in
            sorted(told.items())]  # fmt: skip
    opening = "COUNTS: Mapping[tuple[str, str, float], tuple[int, int]] = {"
    _WRITTEN.write_text("\n".join([head + opening, *rows, "}"]) + "\n", encoding="utf-8")
    print(f"{sum(told.values())} alarms of {len(cases)} trainings in {len(told)} groups")


if __name__ == "__main__":
    main()
