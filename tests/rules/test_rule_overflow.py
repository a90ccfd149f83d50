"""HW303: growth towards a format's largest number, with the steps that it leaves."""

from pathlib import Path

import made_up
import numpy as np
import pytest
from chains import finding, judged
from halves import growing_outputs

from headwater.rules.headroom import outlook
from headwater.rules.overflow import LIMITS


def test_an_output_that_doubles_every_eight_steps_has_its_steps_counted(tmp_path: Path) -> None:
    noise = dict(zip(range(0, 97, 8), np.random.default_rng(1).normal(0, 0.2, 13), strict=True))
    run = growing_outputs(tmp_path, lambda step: 2.0 ** (step / 8 + noise[step]))
    found = finding(run, "HW303")
    evidence = found.evidence
    true = 8 * 16 - 96
    assert evidence["steps_left"] == pytest.approx(true, rel=0.2)
    low, high = evidence["steps_left_low"], evidence["steps_left_high"]
    assert isinstance(low, float)
    assert isinstance(high, float)
    assert low < true < high <= 97
    assert found.where[0].line == 7
    assert "left to float16's largest number" in found.message
    assert found.remedies[-1] == "bfloat16"


def test_a_flat_trend_says_nothing_however_near_the_largest(tmp_path: Path) -> None:
    assert judged(growing_outputs(tmp_path, lambda _step: 60000.0), "HW303").answer == "healthy"


def test_growth_that_is_far_from_the_largest_is_healthy(tmp_path: Path) -> None:
    run = growing_outputs(tmp_path, lambda step: 2.0 ** (step / 8), dtype="float32")
    assert judged(run, "HW303").answer == "healthy"


def test_growth_that_has_ended_is_healthy(tmp_path: Path) -> None:
    run = growing_outputs(tmp_path, lambda step: 2.0 ** (min(step, 40) / 3))
    assert judged(run, "HW303").answer == "healthy"


def test_growth_that_slows_down_is_healthy(tmp_path: Path) -> None:
    run = growing_outputs(tmp_path, lambda step: 10.0 * (1 + step))
    assert judged(run, "HW303").answer == "healthy"


def test_four_samples_cannot_be_judged(tmp_path: Path) -> None:
    verdict = judged(growing_outputs(tmp_path, samples=(0, 8, 16, 24)), "HW303")
    assert verdict.answer == "cannot say"
    assert f"{LIMITS.least_samples} needed" in verdict.reason


def test_nothing_recorded_cannot_be_judged(tmp_path: Path) -> None:
    assert judged(made_up.run(tmp_path), "HW303").answer == "cannot say"


def test_an_exponential_written_out_names_the_stable_call(tmp_path: Path) -> None:
    found = finding(growing_outputs(tmp_path, expression="naive softmax"), "HW303")
    assert found.message.endswith("That is naive softmax: type torch.softmax(x, dim) instead.")


def _gradients(folder: Path, scale: float | None) -> str:
    grown = {step: 2.0 ** (step / 8) for step in range(0, 97, 8)}
    rows = [{"step": s, "parameter": 0, "gradient_max": largest} for s, largest in grown.items()]
    run = made_up.run(
        folder,
        pulse=[{"loss": 0.7, "loss_scale": scale} for _ in range(97)],
        parameters=rows,
        info={"parameters": [made_up.parameter("p0", dtype="float16")]},
    )
    return judged(run, "HW303").answer


def test_a_gradient_that_grows_is_told_unless_a_scaler_looks_after_it(tmp_path: Path) -> None:
    assert _gradients(tmp_path, None) == "wrong"
    assert _gradients(tmp_path, 1024.0) != "wrong"


def test_a_loss_scale_that_falls_and_falls_is_told(tmp_path: Path) -> None:
    run = growing_outputs(
        tmp_path,
        lambda _step: 1.0,
        samples=range(0, 201, 20),
        pulse=lambda step: {"loss_scale": 65536.0 / 2 ** (step // 15)},
    )
    found = finding(run, "HW303")
    assert found.causes[0].cause == "falling-loss-scale"
    assert "reaches 1 in" in found.message


def test_a_scaler_that_looks_for_its_scale_and_finds_it_is_healthy(tmp_path: Path) -> None:
    run = growing_outputs(
        tmp_path,
        lambda _step: 1.0,
        samples=range(0, 201, 20),
        pulse=lambda step: {"loss_scale": 65536.0 / 2 ** min(step, 12)},
    )
    assert judged(run, "HW303").answer == "healthy"


@pytest.mark.parametrize("walk", [0.0, 0.3])
def test_noise_and_wandering_give_no_alarm(walk: float) -> None:
    """Of 2,000 series of 12 samples, level or wandering, none is near float16's largest."""
    random = np.random.default_rng(1)
    steps = np.unique(np.geomspace(1, 2000, 12).round()).astype(int)
    alarms = 0
    for _ in range(2000):
        level = 4 + np.cumsum(random.normal(0, walk, len(steps))) + random.normal(0, 1, len(steps))
        seen = outlook(steps[-5:], 2.0 ** level[-5:], 65504.0)
        assert seen is not None
        alarms += seen.grows and seen.steps_left_ends[1] <= 2000
    assert alarms <= 2


def test_the_interval_holds_the_true_number_of_steps_as_often_as_it_says() -> None:
    random = np.random.default_rng(2)
    steps, slope, held = np.arange(0, 200, 20), 0.05, 0
    for _ in range(1000):
        level = slope * steps + random.normal(0, 0.3, len(steps))
        seen = outlook(steps, 2.0**level, 2.0**30)
        assert seen is not None
        low, high = seen.steps_left_ends
        held += low <= 30 / slope - 180 <= high
    assert held == pytest.approx(950, abs=3 * np.sqrt(1000 * 0.95 * 0.05))


def test_students_t_is_scipys() -> None:
    from scipy.stats import t

    from headwater.rules.headroom import _T_975

    assert pytest.approx([t.ppf(0.975, n) for n in range(1, 21)], abs=5e-4) == _T_975
