"""Assertions that results can refute, and the verdict on a claim.

A band is what a sound measurement gives. Sampling moves an estimate, so there are three answers:

- *does not hold*: the whole 95 % interval lies outside the band;
- *holds*: the whole interval lies within, or the estimate does and rests on as many seeds as the
  band was made for;
- *cannot say*: anything else, such as too few seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from headwater.lab import intervals
from headwater.lab.intervals import Estimate
from headwater.lab.rows import Rows, Tables

Answer = Literal["holds", "does not hold", "cannot say"]
Statistic = Literal["share", "median", "mean", "every"]

ENOUGH = 60  # seeds for which the bands were made: wider than the spread of any 60


@dataclass(frozen=True, kw_only=True)
class Assertion:
    """A statistic of some rows, and the band in which a sound measurement has it.

    Attributes:
        says: What it says, in words; the number and the band follow.
        statistic: ``share`` of true values; ``median`` or ``mean`` of those that are numbers;
            ``every`` value, for what has no sampling error.
        column: Of what.
        low: Lower end of the band, inclusive.
        high: Upper end of the band, inclusive.
        table: Where the column stands.
        where: Values of other columns that choose the rows.
        enough: Seeds from which on the estimate alone decides.
    """

    says: str
    statistic: Statistic
    column: str
    low: float
    high: float
    table: str = "members"
    where: dict[str, Any] = field(default_factory=dict)
    enough: int = ENOUGH


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """An assertion beside what was measured."""

    assertion: Assertion
    estimate: Estimate
    answer: Answer

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        one, seen = self.assertion, self.estimate
        return {
            "says": one.says,
            "statistic": one.statistic,
            "where": one.where,
            "value": _finite(seen.value),
            "interval": [_finite(seen.low), _finite(seen.high)],
            "count": seen.count,
            "band": [_finite(one.low), _finite(one.high)],
            "answer": self.answer,
        }


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the assertions of a claim say together."""

    judgements: tuple[Judgement, ...]

    @property
    def answer(self) -> Answer:
        """One refuted assertion refutes the claim; one that cannot say leaves it open."""
        answers = {judgement.answer for judgement in self.judgements}
        if "does not hold" in answers:
            return "does not hold"
        return "cannot say" if "cannot say" in answers else "holds"

    def of(self, answer: Answer) -> list[str]:
        """Return the words of the assertions that got this answer."""
        return [one.assertion.says for one in self.judgements if one.answer == answer]


def judge(assertions: Sequence[Assertion], tables: Tables) -> Verdict:
    """Hold every assertion against the tables.

    Example:
        >>> rows = Rows.of(seed=np.arange(100), learns=np.arange(100) < 9)
        >>> claim = share("it learns", "learns", 0.0, 0.2)
        >>> judge([claim], {"members": rows}).answer
        'holds'
        >>> judge([share("it learns", "learns", 0.9, 1.0)], {"members": rows}).answer
        'does not hold'
    """
    return Verdict(judgements=tuple(_judged(one, tables) for one in assertions))


def share(
    says: str,
    column: str,
    low: float,
    high: float,
    *,
    table: str = "members",
    enough: int = ENOUGH,
    **where: Any,
) -> Assertion:
    """Assert that the share of true values lies between ``low`` and ``high``."""
    return Assertion(
        says=says,
        statistic="share",
        column=column,
        low=low,
        high=high,
        table=table,
        where=where,
        enough=enough,
    )


def median(
    says: str,
    column: str,
    low: float,
    high: float,
    *,
    table: str = "members",
    enough: int = ENOUGH,
    **where: Any,
) -> Assertion:
    """Assert that the median of what is a number lies between ``low`` and ``high``."""
    return Assertion(
        says=says,
        statistic="median",
        column=column,
        low=low,
        high=high,
        table=table,
        where=where,
        enough=enough,
    )


def mean(
    says: str,
    column: str,
    low: float,
    high: float,
    *,
    table: str = "members",
    enough: int = ENOUGH,
    **where: Any,
) -> Assertion:
    """Assert that the mean of what is a number lies between ``low`` and ``high``."""
    return Assertion(
        says=says,
        statistic="mean",
        column=column,
        low=low,
        high=high,
        table=table,
        where=where,
        enough=enough,
    )


def every(
    says: str, column: str, low: float, high: float, *, table: str = "members", **where: Any
) -> Assertion:
    """Assert that every value lies between ``low`` and ``high``; NaN never does.

    Example:
        >>> rows = Rows.of(dtype=["float16", "float32"], first_zero=[25, 150])
        >>> told = judge([every("zero from", "first_zero", 25, 25, dtype="float16")],
        ...              {"members": rows})
        >>> told.answer, str(told.judgements[0].estimate)
        ('holds', '25')
    """
    return Assertion(
        says=says, statistic="every", column=column, low=low, high=high, table=table, where=where
    )


def estimate(assertion: Assertion, tables: Tables) -> Estimate:
    """Return the assertion's statistic, with its interval.

    Raises:
        KeyError: There is no such table or column: a mistake in the experiment.
    """
    values = tables[assertion.table].where(**assertion.where)[assertion.column]
    if assertion.statistic == "share":
        return intervals.share(values)
    numbers = np.asarray(values, dtype=float)
    if assertion.statistic == "every":
        return _worst(numbers, assertion)
    numbers = numbers[~np.isnan(numbers)]
    taken = intervals.median if assertion.statistic == "median" else intervals.mean
    return taken(numbers)


def _judged(assertion: Assertion, tables: Tables) -> Judgement:
    seen = estimate(assertion, tables)
    return Judgement(assertion=assertion, estimate=seen, answer=_answer(assertion, seen))


def _answer(band: Assertion, seen: Estimate) -> Answer:
    if seen.count == 0:
        return "cannot say"
    if band.statistic == "every":
        return "holds" if band.low <= seen.value <= band.high else "does not hold"
    if seen.high < band.low or seen.low > band.high:
        return "does not hold"
    within = band.low <= seen.low and seen.high <= band.high
    near = band.low <= seen.value <= band.high and seen.count >= band.enough
    return "holds" if within or near else "cannot say"


def _worst(numbers: Any, band: Assertion) -> Estimate:
    if len(numbers) == 0:
        return Estimate(value=math.nan, low=math.nan, high=math.nan, count=0)
    # The value that is furthest out, or nearest to an end of the band: all others are better.
    with np.errstate(invalid="ignore"):
        room = np.minimum(numbers - band.low, band.high - numbers)
    room = np.where(np.isnan(numbers), -np.inf, np.nan_to_num(room, nan=0.0))
    value = float(numbers[np.argmin(room)])
    return Estimate(value=value, low=value, high=value, count=len(numbers))


def _finite(value: float) -> float | str:
    # JSON has no infinity: a word says it, where a reader's parser would stop at the token.
    return value if math.isfinite(value) else str(value)


__all__ = [
    "ENOUGH",
    "Answer",
    "Assertion",
    "Judgement",
    "Rows",
    "Verdict",
    "estimate",
    "every",
    "judge",
    "mean",
    "median",
    "share",
]
