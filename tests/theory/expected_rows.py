"""The published numbers of tests/expected/theory.csv, and what it means to meet one."""

from __future__ import annotations

import csv
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

HOME = Path(__file__).parents[1] / "expected" / "theory.csv"
PLACE = Path(os.environ.get("HEADWATER_EXPECTED_THEORY", HOME))
Answer = float | int | str | None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number, where it comes from and how near a prediction must be."""

    id: str
    kind: str
    quantity: str
    parameters: str
    value: str
    tolerance: str
    relative: str

    @property
    def given(self) -> dict[str, str]:
        """The parameters that have a name."""
        parts = re.split(r";\s*", self.parameters)
        pairs = (part.rpartition("=") if "gain=" in part else part.partition("=") for part in parts)
        return {name.strip(): text.strip() for name, mark, text in pairs if mark}

    def number(self, name: str, default: float | None = None) -> float:
        text = self.given.get(name)
        if text is None:
            assert default is not None, f"{self.id} has no {name} among {self.parameters!r}"
            return default
        return float(re.match(r"[-+\d.e]+", text)[0])  # type: ignore[index]

    @property
    def act(self) -> str:
        return self.given["act"]

    @property
    def dtype(self) -> str:
        found = re.search(r"\bb?float\d+", self.parameters)
        assert found is not None, f"{self.id} names no format in {self.parameters!r}"
        return found[0]

    def in_quantity(self, pattern: str) -> float:
        found = re.search(pattern, self.quantity)
        assert found is not None, f"{self.id} has no {pattern!r} in {self.quantity!r}"
        return float(found[1])


def load(*kinds: str) -> list[Row]:
    with PLACE.open(newline="") as file:
        names = Row.__dataclass_fields__
        rows = [Row(**{k: line[k] for k in names}) for line in csv.DictReader(file)]
    return [row for row in rows if row.kind in kinds]


def misses(row: Row, answer: Answer) -> str:
    """Return why an answer is not near enough, or nothing."""
    if not re.fullmatch(r"-?(\d.*|inf)", row.value) or re.search(r"[*^]", row.value):
        wrong = str(answer) != row.value
    elif row.tolerance.startswith(("factor", "order")):
        factor = 10.0 if row.tolerance.startswith("order") else float(row.tolerance.split()[1])
        wrong = not abs(math.log(float(answer or 0.0) / float(row.value))) <= math.log(factor)
    elif row.tolerance.startswith("exact"):
        wrong = float(answer or 0.0) != float(row.value)
    else:
        wrong = not _near(row, float(math.nan if answer is None else answer))
    return f"{row.id}: got {answer!r}, want {row.value} within {row.tolerance}" if wrong else ""


def _near(row: Row, answer: float) -> bool:
    want = float(row.value)
    if math.isinf(want):
        return answer == want
    found = re.match(r"[\d.e+-]+", row.tolerance)
    assert found is not None, f"{row.id} has the tolerance {row.tolerance!r}"
    bound = float(found[0])
    # "0.05 (0.07 silu)": one activation has a bound of its own.
    if own := re.search(rf"\(([\d.]+) {row.given.get('act', '-')}\)", row.tolerance):
        bound = float(own[1])
    if "%" in row.tolerance:
        # Of a value of 0 a share is 0 as well; there the percentage is of 1.
        bound *= max(abs(want), 1.0 if want == 0 else 0.0) / 100
    elif row.relative == "yes":
        bound *= abs(want) if want else 1.0
    # A tolerance of 0 is for numbers that are exact in float64.
    return abs(answer - want) <= bound + (0.0 if bound == 0 else 4e-16 * abs(want))
