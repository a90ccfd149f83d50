"""HW102: told where the gradient grows and does harm, silent where the loss falls all the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chains import Layer, chain, falling, finding, flat, judged

GROWING = [Layer(weights=0.6)] * 8
LEVEL = [Layer(weights=0.02)] * 8


def test_growth_over_the_layers_with_steps_larger_than_the_weights_is_an_error(
    tmp_path: Path,
) -> None:
    layers = [Layer(weights=0.6, update=3.0)] * 8
    found = finding(chain(tmp_path, layers, losses=flat()), "HW102")
    assert found.severity == "error"
    assert found.evidence["grown_decades"] == pytest.approx(7 * 0.6)
    assert found.evidence["largest_relative_update"] == 3.0
    assert found.causes[0].cause == "weight-scale-too-large"
    assert "grows by 4.2 decades on its way to train.py:63 (hidden7)" in found.message


def test_a_gradient_that_keeps_its_size_is_healthy(tmp_path: Path) -> None:
    assert judged(chain(tmp_path, LEVEL, losses=falling()), "HW102").answer == "healthy"


def test_a_run_of_two_steps_cannot_be_judged(tmp_path: Path) -> None:
    verdict = judged(chain(tmp_path, LEVEL, losses=flat(2), samples=(0,)), "HW102")
    assert verdict.answer == "cannot say"


def test_growth_that_does_no_harm_is_healthy(tmp_path: Path) -> None:
    assert judged(chain(tmp_path, GROWING, losses=falling()), "HW102").answer == "healthy"


def test_growth_that_clipping_tames_is_information(tmp_path: Path) -> None:
    run = chain(
        tmp_path,
        GROWING,
        losses=falling(),
        columns={"unscaled_norm": 400.0, "clipped_norm": 1.0},
    )
    assert finding(run, "HW102").severity == "info"


def test_growth_in_a_loop_through_time_is_called_recurrent(tmp_path: Path) -> None:
    loop = [Layer(weights=0.3, update=2.0)] * 20
    found = finding(chain(tmp_path, loop, losses=flat(), recurrent=True), "HW102")
    assert found.causes[0].cause == "recurrent-expansion"


def test_growth_that_breaks_the_run_within_two_steps_is_told_from_these(tmp_path: Path) -> None:
    losses = [7e4, 5e23, *[float("nan")] * 30]
    found = finding(chain(tmp_path, GROWING, losses=losses, samples=(0, 1, 2, 4)), "HW102")
    assert found.severity == "error"
    assert found.step == 1


def _blowing_up(at: int) -> Any:
    return lambda step: {"total_norm": 400.0 * 100.0 ** max(0, step - at + 1)}


def test_a_norm_that_jumps_with_the_loss_is_an_error(tmp_path: Path) -> None:
    losses = [*flat(100), *(np.exp(3.0 * np.arange(1, 20))).tolist()]
    found = finding(chain(tmp_path, LEVEL, losses=losses, pulse=_blowing_up(101)), "HW102")
    assert found.severity == "error"
    assert found.first_step == 102
    assert found.causes[0].cause == "learning-rate-too-high"
    assert found.evidence["running_median"] == 400.0


def test_raw_targets_are_blamed_where_the_first_output_error_is_large(tmp_path: Path) -> None:
    losses = [2e4, 5e4, 9e5, 2e8, 1e12, float("inf")]
    layers = [Layer(), Layer()]
    run = chain(
        tmp_path, layers, losses=losses, samples=(0, 1), loss="MseLoss", output_level=1.0,
        pulse=lambda step: {"total_norm": 400.0 * 10.0 ** (2 * max(0, step - 1))},
    )  # fmt: skip
    found = finding(run, "HW102")
    assert found.causes[0].cause == "unscaled-targets"
    assert found.remedies[0] == "standardise-targets"


def test_a_spike_from_which_the_loss_recovers_is_healthy(tmp_path: Path) -> None:
    losses = falling()
    losses[300] = 500.0
    run = chain(
        tmp_path,
        LEVEL,
        losses=losses,
        pulse=lambda step: {"total_norm": 1e6 if step == 300 else 1.0},
    )
    assert judged(run, "HW102").answer == "healthy"


def test_the_loss_scale_and_skipped_steps_are_no_jump(tmp_path: Path) -> None:
    def pulse(step: int) -> dict[str, Any]:
        skipped = step in (150, 151)
        return {
            "loss_scale": 65536.0 if step < 150 else 16384.0,
            "skipped": skipped,
            "total_norm": float("inf") if skipped else (65536.0 if step < 150 else 16384.0),
        }

    assert judged(chain(tmp_path, LEVEL, losses=falling(), pulse=pulse), "HW102").answer == (
        "healthy"
    )
