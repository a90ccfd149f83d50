"""Every published number of the table is met by the public function that answers its quantity."""

from __future__ import annotations

import re

import pytest
from expected_rows import Row, load, misses
from quantities import PREDICTIONS, answers_to
from simulations import FACTS, SIMULATIONS

# What nothing here answers: a pattern of the quantity, one of the parameters, and why.
UNMAPPED = (
    (
        r"smallest x with torch.tanh\(x\)==1",
        r"^float(32|64)$",
        "torch's vectorised tanh is not correctly rounded; the number is "
        "its own and not the format's",
    ),
    (
        r"gradient norm factor per layer sqrt\(chi1\) at depth->inf",
        r"forward explodes",
        "the factor at some variance on the way to infinity, which the row does not name; the "
        "limit is lower",
    ),
    (
        r"gradient norm factor per layer of a 50x256 MLP initialised by AnyInit",
        r"infeasible",
        "no weights make the outputs' mean square 1, and what AnyInit takes instead is not said",
    ),
)


def unmapped(row: Row) -> str:
    reasons = (
        why
        for quantity, parameters, why in UNMAPPED
        if re.match(quantity, row.quantity) and re.search(parameters, row.parameters)
    )
    return next(reasons, "")


def mapped(*kinds: str) -> list[Row]:
    return [row for row in load(*kinds) if not unmapped(row)]


@pytest.mark.parametrize("row", mapped("prediction"), ids=lambda row: row.id)
def test_a_prediction_is_met(row: Row) -> None:
    answer = answers_to(row, PREDICTIONS)
    assert answer is not None, f"no function for {row.quantity!r}"
    assert not misses(row, answer(row))


@pytest.mark.parametrize("row", mapped("fact"), ids=lambda row: row.id)
def test_a_fact_holds_in_torch(row: Row) -> None:
    answer = answers_to(row, FACTS)
    assert answer is not None, f"no check of {row.quantity!r}"
    assert not misses(row, answer(row))


@pytest.mark.slow
@pytest.mark.parametrize("row", mapped("simulation"), ids=lambda row: row.id)
def test_a_simulation_comes_out_again(row: Row) -> None:
    answer = answers_to(row, SIMULATIONS)
    assert answer is not None, f"no simulation of {row.quantity!r}"
    assert not misses(row, answer(row))


def test_hardly_anything_is_left_out() -> None:
    rows = load("prediction", "simulation", "fact")
    assert sum(bool(unmapped(row)) for row in rows) <= 0.03 * len(rows)
