"""HW106: told where units are copies from the start, silent where they only look alike by size."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chains import Layer, chain, falling, finding, flat, judged

from headwater.runs.reader import Run

ALIKE = [0.5] * 32
DRAWN = np.random.default_rng(0).normal(0.5, 0.05, 32).tolist()


def _run(folder: Path, unit_l1: list[float], **more: Any) -> Run:
    layers = [Layer(**more.pop("layer", {}))] * 3
    return chain(folder, layers, losses=more.pop("losses", flat()), columns={"unit_l1": unit_l1})


def test_units_with_the_same_weights_are_copies(tmp_path: Path) -> None:
    found = finding(_run(tmp_path, ALIKE), "HW106")
    assert found.severity == "error"
    assert found.causes[0].cause == "constant-init"
    assert "up to 32 units do the work of one" in found.message
    assert {where.line for where in found.where} == {80, 70, 69, 68}


def test_copies_are_a_warning_where_the_loss_falls_all_the_same(tmp_path: Path) -> None:
    assert finding(_run(tmp_path, ALIKE, losses=falling()), "HW106").severity == "warning"


def test_units_drawn_at_random_are_healthy(tmp_path: Path) -> None:
    assert judged(_run(tmp_path, DRAWN), "HW106").answer == "healthy"


@pytest.mark.parametrize(("losses", "answer"), [(falling(), "healthy"), (flat(), "wrong")])
def test_copies_that_do_not_move_are_a_fault_only_where_nothing_is_learnt(
    losses: list[float], answer: str, tmp_path: Path
) -> None:
    run = chain(
        tmp_path, [Layer(update=0.0)] * 3, losses=losses, output_update=0.0,
        columns={"unit_l1": ALIKE},
    )  # fmt: skip
    assert judged(run, "HW106").answer == answer
    stall = [cause.cause for found in judged(run, "HW202").findings for cause in found.causes]
    assert stall == (["constant-init"] if answer == "wrong" else [])


def test_zeros_are_a_fault_only_where_nothing_is_learnt(tmp_path: Path) -> None:
    zero = {"layer": {"update": 0.0, "weight_norm": 0.0}}
    stuck = finding(_run(tmp_path, [0.0] * 32, **zero), "HW106")
    assert {where.line for where in stuck.where} >= {70, 69, 68}
    learns = _run(tmp_path, [0.0] * 32, losses=falling(), **zero)
    places = [found.where for found in judged(learns, "HW106").findings]
    assert not any(where.line in {70, 69, 68} for place in places for where in place)


def test_units_not_measured_cannot_be_judged(tmp_path: Path) -> None:
    run = chain(tmp_path, [Layer()] * 3, losses=flat(), samples=(0, 1))
    assert judged(run, "HW106").answer == "cannot say"
