"""HW203, and the causes of steps too large: told from a run's first sizes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chains import Layer, chain, falling, finding, flat, judged

from headwater.rules.curvature import step_times_curvature
from headwater.rules.facts import Facts
from headwater.rules.sizes import never_zeroed, output_errors, why_too_large
from headwater.runs.reader import Run

LEAPS = [Layer(update=3.0)] * 3
SPIKE = [0.7, 90.0]


def test_a_step_larger_than_the_weights_that_throws_the_loss_up_is_told(tmp_path: Path) -> None:
    found = finding(chain(tmp_path, LEAPS, losses=[*SPIKE, *flat()]), "HW203")
    assert found.severity == "error"
    assert found.causes[0].cause == "learning-rate-too-high"
    assert "changed" in found.message
    assert "leapt from 0.7 to 90" in found.message


def test_a_leap_that_the_loss_comes_down_from_is_a_warning(tmp_path: Path) -> None:
    assert finding(chain(tmp_path, LEAPS, losses=[*SPIKE, *falling()]), "HW203").severity == (
        "warning"
    )


def test_small_weights_outgrown_in_one_step_are_healthy(tmp_path: Path) -> None:
    assert judged(chain(tmp_path, LEAPS, losses=falling()), "HW203").answer == "healthy"


def test_a_loss_that_had_been_at_a_tenth_of_its_end_is_told(tmp_path: Path) -> None:
    learnt, lost = falling(200, start=2.0, end=0.1), falling(200, start=0.1, end=2.0)
    losses = [*learnt, *flat(100, level=0.1), *lost]
    found = finding(chain(tmp_path, [Layer()] * 3, losses=np.abs(losses).tolist()), "HW203")
    assert "near its start" in found.message


@pytest.mark.parametrize(("growth", "told"), [(0.5, True), (0.0, False)])
def test_less_of_a_return_is_told_where_gradients_add_up(
    tmp_path: Path, growth: float, told: bool
) -> None:
    losses = [*falling(200, start=2.0, end=0.4), *flat(100, level=0.4)]
    losses += falling(200, start=0.4, end=2.0)
    noisy = [abs(value) * (1 + 0.3 * (step % 3)) for step, value in enumerate(losses)]
    run = chain(
        tmp_path, [Layer()] * 3, losses=noisy,
        pulse=lambda step: {"gradient_norms": [1.0 + growth * step] * 8},
    )  # fmt: skip
    assert (judged(run, "HW203").answer == "wrong") is told
    if told:
        assert finding(run, "HW203").causes[0].cause == "gradients-not-zeroed"


@pytest.mark.parametrize("losses", [flat(), falling(), [*flat(300), 80.0, *flat(300)]])
def test_noise_a_fall_and_one_hard_batch_are_healthy(tmp_path: Path, losses: list[float]) -> None:
    assert judged(chain(tmp_path, [Layer()] * 3, losses=losses), "HW203").answer == "healthy"


def test_a_loss_that_runs_away_is_left_to_hw201(tmp_path: Path) -> None:
    run = chain(tmp_path, LEAPS, losses=falling(200, start=0.5, end=50.0))
    assert judged(run, "HW203").answer == "healthy"
    assert judged(run, "HW201").answer == "wrong"


def _causes(run: Run) -> list[str]:
    return [cause.cause for cause in why_too_large(Facts(run))]


def _squared(folder: Path, level: float, **more: Any) -> Run:
    """512 outputs of error 1: the mean of squares is 1, its gradient 2 / sqrt(512)."""
    return chain(
        folder, [Layer()] * 2, losses=[1.0] * 60, loss="MseLoss", output_level=level, **more
    )


def test_a_mean_of_squares_has_the_gradient_of_a_mean(tmp_path: Path) -> None:
    of_mean = float(np.log10(2 / np.sqrt(512)))
    error, factor, _ = output_errors(Facts(_squared(tmp_path, of_mean)))
    assert error == pytest.approx(2.0)
    assert factor == pytest.approx(1.0)
    assert _causes(_squared(tmp_path, of_mean)) == ["learning-rate-too-high"]


def test_a_sum_is_told_from_a_mean_by_the_gradient_against_the_loss(tmp_path: Path) -> None:
    of_mean = float(np.log10(2 / np.sqrt(512)))
    assert _causes(_squared(tmp_path, of_mean + 0.5 * np.log10(512)))[0] == "loss-reduction"


def test_a_mean_of_cross_entropies_cannot_have_a_gradient_over_root_two(tmp_path: Path) -> None:
    run = chain(tmp_path, [Layer()] * 2, losses=flat(), loss="NllLoss", classes=4, output_level=0.8)
    assert _causes(run)[0] == "loss-reduction"


def test_high_momentum_is_blamed_before_the_rate(tmp_path: Path) -> None:
    optimisers = [{"type": "SGD", "settings": {"lr": 0.1, "momentum": 0.99}}]
    run = chain(tmp_path, [Layer()] * 2, losses=flat(), info={"optimisers": optimisers})
    assert _causes(run) == ["momentum-too-high", "learning-rate-too-high"]


def test_gradients_that_add_up_are_smoother_than_their_loss(tmp_path: Path) -> None:
    noisy = [value * (1 + 0.3 * (step % 3)) for step, value in enumerate(flat(100))]
    adds_up = chain(
        tmp_path, [Layer()] * 2, losses=noisy,
        pulse=lambda step: {"gradient_norms": [1.0 + 0.5 * step] * 6},
    )  # fmt: skip
    assert never_zeroed(Facts(adds_up))[0].cause == "gradients-not-zeroed"
    fresh = chain(
        tmp_path, [Layer()] * 2, losses=noisy,
        pulse=lambda step: {"gradient_norms": [1.0 + 0.3 * (step % 4)] * 6},
    )  # fmt: skip
    assert never_zeroed(Facts(fresh)) == ()


@pytest.mark.parametrize(
    ("taken", "update", "growth", "told"),
    [
        (0.01, 0.02, 30.0, True),
        (0.3, 0.02, 30.0, False),  # a fresh gradient each time
        (0.01, 1e-6, 30.0, False),  # a step too short to change anything
        (0.01, 0.02, 1.0, False),  # a gradient that does not add up
    ],
)
def test_long_steps_that_take_nothing_of_their_slope_are_a_sum_of_gradients(
    tmp_path: Path, taken: float, update: float, growth: float, told: bool
) -> None:
    def pulse(step: int) -> dict[str, Any]:
        norm = (1 + (growth - 1) * step / 100) * (1.5 if step % 2 else 1.0)  # not smooth
        slopes = {"slope": -1.0, "slope_after": taken - 1.0} if step else {"slope": -1.0}
        return {"gradient_norms": [norm, 0.0], **slopes}

    run = chain(
        tmp_path, [Layer(update=update)], losses=falling(200), pulse=pulse, output_update=update
    )
    causes = never_zeroed(Facts(run))
    assert [cause.cause for cause in causes] == ["gradients-not-zeroed"] * told


def test_steps_that_overshoot_say_by_how_much(tmp_path: Path) -> None:
    def pulse(step: int) -> dict[str, Any]:
        return {"slope": -1.0, "slope_after": 1.5 if step else None}

    run = chain(tmp_path, [Layer()], losses=falling(start=0.5, end=5.0), pulse=pulse)
    assert step_times_curvature(Facts(run).pulse) == 2.5
    found = finding(run, "HW201")
    assert found.evidence["step_times_curvature"] == 2.5
    assert "a step times the curvature along it is 2.5" in found.causes[0].evidence
