"""Intervals and verdicts: three answers, and what decides between them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from headwater.lab import intervals
from headwater.lab.claims import Assertion, every, judge, mean, median, share
from headwater.lab.rows import Rows, joined_tables


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def answer(assertion: Assertion, **columns: object) -> str:
    return judge([assertion], {"members": Rows.of(**columns)}).answer


@pytest.mark.parametrize(
    ("hits", "count", "low", "high", "expected"),
    [
        (9, 100, 0.0, 0.2, "holds"),
        (50, 100, 0.0, 0.2, "does not hold"),
        (0, 3, 0.0, 0.2, "cannot say"),  # in the band, but three seeds could be anything
        (3, 3, 0.0, 0.2, "does not hold"),  # at least 0.44 with 95 % confidence
        (22, 100, 0.0, 0.2, "cannot say"),  # outside, and not clearly
        (60, 60, 0.95, 1.0, "holds"),  # as many as the band was made for
        (30, 30, 0.95, 1.0, "cannot say"),
    ],
)
def test_a_share_has_three_answers(
    hits: int, count: int, low: float, high: float, expected: str
) -> None:
    assert answer(share("it", "hit", low, high), hit=np.arange(count) < hits) == expected


def test_wilsons_interval_covers_as_often_as_it_says(rng: np.random.Generator) -> None:
    hits = rng.uniform(size=(2000, 60)) < 0.1
    ends = [intervals.share(row) for row in hits]
    assert 0.93 < np.mean([one.low <= 0.1 <= one.high for one in ends]) < 0.98


def test_the_medians_interval_covers_at_least_as_often(rng: np.random.Generator) -> None:
    ends = [intervals.median(row) for row in rng.exponential(size=(2000, 31))]
    covered = np.mean([one.low <= math.log(2) <= one.high for one in ends])
    assert 0.94 < covered < 0.985


def test_a_median_of_infinities_is_infinite() -> None:
    assert intervals.median(np.array([1.0, math.inf, math.inf])).value == math.inf
    assert intervals.median(np.array([math.inf] * 4)).value == math.inf


def test_numbers_that_are_none_are_left_out_of_medians_and_means() -> None:
    column = np.array([math.nan] * 40 + [2.0] * 80)
    assert answer(median("it", "x", 1.9, 2.1), x=column) == "holds"
    assert answer(mean("it", "x", 1.9, 2.1), x=column) == "holds"


def test_nothing_measured_is_no_answer() -> None:
    assert answer(median("it", "x", 0, 1), x=np.full(100, math.nan)) == "cannot say"
    assert answer(share("it", "hit", 0, 1, arm="b"), arm=["a"], hit=[True]) == "cannot say"


def test_every_value_means_every_one() -> None:
    assert answer(every("it", "x", 0, 1), x=[0.5, 0.7]) == "holds"
    assert answer(every("it", "x", 0, 1), x=[0.5, 1.7]) == "does not hold"
    assert answer(every("it", "x", 0, 1), x=[0.5, math.nan]) == "does not hold"


def test_of_every_value_the_one_nearest_to_an_end_is_told() -> None:
    rows = {"members": Rows.of(x=[0.5, 0.9, 0.2])}
    (told,) = judge([every("it", "x", 0, 1)], rows).judgements
    assert told.estimate.value == 0.9
    (told,) = judge([every("it", "x", -math.inf, 1)], rows).judgements
    assert told.estimate.value == 0.9
    same = {"members": Rows.of(x=[-math.inf])}
    assert judge([every("it", "x", -math.inf, -math.inf)], same).answer == "holds"


def test_one_refuted_assertion_refutes_the_claim() -> None:
    rows = {"members": Rows.of(x=[0.5] * 100)}
    claims = [every("right", "x", 0, 1), every("wrong", "x", 2, 3), share("none", "x", 0, 1, x=9)]
    verdict = judge(claims, rows)
    assert verdict.answer == "does not hold"
    assert verdict.of("does not hold") == ["wrong"]


def test_columns_of_two_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        Rows.of(a=[1, 2], b=[1, 2, 3])
    with pytest.raises(ValueError, match="same columns"):
        joined_tables([{"t": Rows.of(a=[1])}, {"t": Rows.of(b=[1])}])
