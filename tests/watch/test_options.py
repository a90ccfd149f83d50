"""What the options take, and what they say of what they do not take."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from headwater.errors import BadStepsError
from headwater.watch.options import parse_every, parse_overhead, parse_steps


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("1%", 0.01),
        ("0.01", 0.01),
        ("0", 0.0),
        ("0%", 0.0),
        ("100%", 1.0),
        ("1", 1.0),
        (".5 %", 0.005),
    ],
)
def test_an_overhead_is_a_share_or_a_percentage(text: str, share: float) -> None:
    assert parse_overhead(text) == pytest.approx(share)


@pytest.mark.parametrize(
    "text", ["", "%", "101%", "2", "-0.1", "nan", "inf", "one", "1%%", "1e999%"]
)
def test_an_overhead_outside_it_is_refused(text: str) -> None:
    with pytest.raises(BadStepsError) as caught:
        parse_overhead(text)
    wanted = "a share from 0 to 1 or 0% to 100%, as in 1%"
    assert str(caught.value) == f"--overhead got {text!r}; it takes {wanted}"


@pytest.mark.parametrize("text", ["0", "-1", "", "1.5", "ten", "²", "١"])
def test_an_interval_is_a_whole_number_from_one_on(text: str) -> None:
    assert parse_every("12") == 12
    with pytest.raises(BadStepsError) as caught:
        parse_every(text)
    wanted = "a whole number of steps of at least 1, as in 10"
    assert str(caught.value) == f"--every got {text!r}; it takes {wanted}"


@pytest.mark.parametrize("text", ["5:2", "3:3", "5", ":", "5:", ":5", "-1:5", "1:2:3", "a:b"])
def test_steps_are_a_range_that_is_not_empty(text: str) -> None:
    assert parse_steps("10:20") == (10, 20)
    with pytest.raises(BadStepsError) as caught:
        parse_steps(text)
    assert str(caught.value) == (f"--steps got {text!r}; it takes A:B with 0 <= A < B, as in 0:100")


@pytest.mark.parametrize("parse", [parse_overhead, parse_every, parse_steps])
def test_what_is_refused_is_a_usage_error(parse: Callable[[str], object]) -> None:
    with pytest.raises(BadStepsError):
        parse("nonsense")
