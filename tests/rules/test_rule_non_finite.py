"""HW301: the first thing that is not finite, and the difference to a GradScaler at work."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import made_up
import pytest
import torch
from chains import falling, finding, flat, judged
from torch import nn

import headwater
from headwater.records import Fault, Where
from headwater.rules import judge
from headwater.runs.reader import Run


def test_a_run_of_finite_numbers_is_healthy(tmp_path: Path) -> None:
    pulse = [{"loss": loss, "gradient_norms": [1.0, None]} for loss in falling(50)]
    assert judged(made_up.run(tmp_path, pulse=pulse), "HW301").answer == "healthy"


def test_a_run_without_steps_cannot_be_judged(tmp_path: Path) -> None:
    assert judged(made_up.run(tmp_path), "HW301").answer == "cannot say"


def test_the_first_gradient_that_is_not_finite_is_named(tmp_path: Path) -> None:
    pulse = [
        {"loss": 0.7, "gradient_norms": [1.0, math.inf if step >= 3 else 1.0]} for step in range(9)
    ]
    found = finding(made_up.run(tmp_path, pulse=pulse), "HW301")
    assert found.first_step == 3
    assert found.severity == "error"
    assert "At step 3 a gradient is not finite (first in p1)." in found.message
    assert [where.parameter for where in found.where] == ["p1"]


def test_a_loss_that_is_nan_is_named_with_its_step(tmp_path: Path) -> None:
    pulse = [{"loss": loss} for loss in [*flat(20), math.nan, 0.5]]
    found = finding(made_up.run(tmp_path, pulse=pulse), "HW301")
    assert found.first_step == 20
    assert "the loss is NaN" in found.message


def test_a_loss_that_overflows_after_growing_is_told_as_such(tmp_path: Path) -> None:
    pulse = [{"loss": loss} for loss in [1.0, 1.0, 30.0, 1e9, math.inf]]
    found = finding(made_up.run(tmp_path, pulse=pulse), "HW301")
    assert "had run away until it overflowed" in found.message
    assert found.remedies[0] == "lower-learning-rate"


def test_a_weight_that_is_not_finite_is_enough(tmp_path: Path) -> None:
    rows = [
        {"step": step, "parameter": 0, "weight_nonfinite_share": 0.1 if step == 4 else 0.0}
        for step in (0, 1, 2, 4)
    ]
    pulse = [{"loss": 0.7} for _ in range(5)]
    found = finding(made_up.run(tmp_path, pulse=pulse, parameters=rows), "HW301")
    assert (found.first_step, found.where[0].parameter) == (4, "p0")


def test_the_operation_that_received_numbers_and_handed_on_none_is_the_producer(
    tmp_path: Path,
) -> None:
    sites = [
        made_up.site("Mean", "loss", line=9),
        made_up.site("Sqrt", "shape", line=7),
        made_up.site("Addmm", "weights", line=5),
        made_up.site("AccumulateGrad", "parameter"),
    ]
    rows = [
        made_up.node(0, -1),
        made_up.node(1, 0),
        made_up.node(2, 1, level=math.nan),
        made_up.node(3, 2, level=math.nan, parameter=0),
    ]
    pulse = [{"loss": 0.7, "gradient_norms": [math.nan]}]
    found = finding(made_up.run(tmp_path, pulse=pulse, sites=rows, info={"sites": sites}), "HW301")
    assert found.where[0].line == 7
    assert "It comes from train.py:7" in found.message


def _scaled(
    folder: Path, skipped: list[int], scale: float = 1024.0, faults: tuple[Fault, ...] = ()
) -> Run:
    def row(step: int) -> dict[str, Any]:
        bad = step in skipped
        return {
            "loss": 0.7,
            "loss_scale": scale,
            "skipped": bad,
            "optimiser": 0,
            "gradient_norms": [math.inf if bad else 1.0],
        }

    pulse = [row(step) for step in range(60)]
    return made_up.run(folder, pulse=pulse, info={"faults": [asdict(one) for one in faults]})


def test_steps_that_the_scaler_skips_are_its_search_for_a_scale(tmp_path: Path) -> None:
    assert judged(_scaled(tmp_path, [0, 1, 2, 3, 4, 30]), "HW301").answer == "healthy"


def test_eleven_skipped_steps_in_a_row_are_no_search(tmp_path: Path) -> None:
    found = finding(_scaled(tmp_path, list(range(20, 31))), "HW301")
    assert found.first_step == 20
    assert found.evidence["skips_in_a_row"] == 11
    assert found.remedies[0] == "bfloat16"


@pytest.mark.parametrize(("step", "blamed"), [(19, False), (20, True), (30, True), (31, False)])
def test_an_operation_is_blamed_for_the_steps_it_broke(
    step: int, blamed: bool, tmp_path: Path
) -> None:
    fault = Fault(
        step=step,
        seen_in="gradient",
        phase="forward",
        operation="mm",
        cause="overflow-in-half",
        reason="too large",
        where=Where(file="train.py", line=7),
        confidence=0.95,
    )
    found = finding(_scaled(tmp_path, list(range(20, 31)), faults=(fault,)), "HW301")
    assert found.evidence["skips_in_a_row"] == 11
    assert ("so that the GradScaler skipped 11 steps in a row" in found.message) is blamed
    assert bool(found.causes) is blamed


def test_a_scale_under_one_is_a_fault(tmp_path: Path) -> None:
    assert judged(_scaled(tmp_path, [5], scale=0.5), "HW301").answer == "wrong"


def test_without_a_scaler_every_infinite_gradient_counts(tmp_path: Path) -> None:
    pulse = [{"loss": 0.7, "gradient_norms": [math.inf if step == 7 else 1.0]} for step in range(9)]
    assert finding(made_up.run(tmp_path, pulse=pulse), "HW301").first_step == 7


@pytest.mark.skipif(
    torch.cuda.is_available(), reason="no backward pass in a copy where a GPU is there"
)
def test_what_an_operation_broke_neither_exploded_nor_ran_away(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    with headwater.watch(model, optimiser, every=4, out=tmp_path / "run") as run:
        for step in range(30):
            optimiser.zero_grad()
            loss = model(torch.randn(8, 4)).square().mean()
            if step == 20:
                loss = loss + (model.bias * 0).square().sum().sqrt()
            loss.backward()
            optimiser.step()
    verdicts = {verdict.code: verdict for verdict in judge(run.record)}
    (found,) = verdicts["HW301"].findings
    assert found.causes[0].cause == "sqrt-at-zero"
    assert not verdicts["HW102"].findings
    assert not verdicts["HW201"].findings
