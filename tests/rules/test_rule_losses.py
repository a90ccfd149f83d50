"""HW201 and HW202: a loss that runs away or stands still, told from those that only look so."""

import math
from pathlib import Path

import made_up
import numpy as np
import pytest
from chains import Layer, chain, falling, finding, flat, judged

from headwater.rules.trend import loss_trend
from headwater.runs.reader import Run


def _run(folder: Path, losses: list[float | None], **more: object) -> Run:
    pulse = [{"loss": loss, "optimiser": 0} for loss in losses]
    return made_up.run(folder, pulse=pulse)


def test_a_loss_that_grows_and_stays_there_diverges(tmp_path: Path) -> None:
    found = finding(_run(tmp_path, falling(200, start=0.5, end=5.0)), "HW201")
    assert found.severity == "error"
    assert found.evidence["rise_limit"] == 2.0


def test_a_loss_that_grows_until_it_overflows_diverges(tmp_path: Path) -> None:
    losses = [4e4, 4e4, 7e5, 1e9, 1e15, math.inf, math.nan, math.nan]
    found = finding(_run(tmp_path, losses), "HW201")
    assert found.first_step == 5
    assert "grows from 4e+04 to 1e+15" in found.message
    assert "is not finite from step 5 on" in found.message


def test_a_loss_that_turns_nan_from_an_ordinary_level_does_not_diverge(tmp_path: Path) -> None:
    assert judged(_run(tmp_path, [*flat(100), math.nan]), "HW201").answer == "healthy"


def test_losses_that_fall_or_stand_do_not_diverge(tmp_path: Path) -> None:
    for losses in (falling(), flat()):
        assert judged(_run(tmp_path, losses), "HW201").answer == "healthy"


def test_forty_losses_are_too_few_to_say(tmp_path: Path) -> None:
    for code in ("HW201", "HW202"):
        assert judged(_run(tmp_path, flat(40)), code).answer == "cannot say"


def test_a_loss_that_wanders_up_by_a_third_does_not_diverge(tmp_path: Path) -> None:
    assert judged(_run(tmp_path, falling(start=0.6, end=0.8)), "HW201").answer == "healthy"


def test_a_loss_that_stands_still_for_long_is_a_modest_warning(tmp_path: Path) -> None:
    found = finding(_run(tmp_path, flat(2400)), "HW202")
    assert (found.severity, found.confidence) == ("warning", 0.5)


def test_a_plateau_alone_is_not_yet_a_stall(tmp_path: Path) -> None:
    verdict = judged(_run(tmp_path, flat(1500)), "HW202")
    assert verdict.answer == "cannot say"


def test_a_plateau_with_another_symptom_is_a_stall_at_once(tmp_path: Path) -> None:
    saturated = [Layer(statistics={"saturated": 0.6})] * 3
    found = finding(chain(tmp_path, saturated, losses=flat(60)), "HW202")
    assert found.severity == "error"
    assert found.causes[0].cause == "saturation"
    assert "60 % saturated at train.py:70 (hidden0)" in found.message


def test_a_loss_that_falls_slowly_but_surely_is_healthy(tmp_path: Path) -> None:
    assert judged(_run(tmp_path, falling(2000, start=0.7, end=0.66)), "HW202").answer == "healthy"


def test_a_loss_that_fell_and_then_stands_has_converged(tmp_path: Path) -> None:
    losses = [*falling(60, start=2.0, end=0.3), *flat(2000, level=0.3)]
    assert judged(_run(tmp_path, losses), "HW202").answer == "healthy"


def test_a_loss_that_drops_to_chance_at_once_and_stays_there_has_not_converged(
    tmp_path: Path,
) -> None:
    """Two circles with U[0, 1] weights: 1.15, then ln 2 for good."""
    losses = [*falling(50, start=1.15, end=0.69), *flat(3000)]
    found = finding(chain(tmp_path, [Layer()] * 3, losses=losses), "HW202")
    assert found.evidence["chance"] == pytest.approx(math.log(2))
    assert "stands at 0.693, which is chance level (0.693)" in found.message
    unknown = chain(tmp_path, [Layer()] * 3, losses=losses, loss="MseLoss")
    assert judged(unknown, "HW202").answer == "healthy"


def test_chance_of_many_classes_is_read_from_the_last_layer(tmp_path: Path) -> None:
    losses = [*falling(50, start=4.0, end=math.log(10)), *flat(3000, level=math.log(10))]
    run = chain(tmp_path, [Layer()] * 2, losses=losses, loss="NllLoss", classes=10)
    assert finding(run, "HW202").evidence["chance"] == pytest.approx(math.log(10))
    other = chain(tmp_path, [Layer()] * 2, losses=losses, loss="NllLoss", classes=1000)
    assert judged(other, "HW202").answer == "healthy"


def test_a_flat_loss_far_below_chance_is_a_network_trained_before(tmp_path: Path) -> None:
    run = chain(tmp_path, [Layer()] * 3, losses=flat(1000, level=0.2))
    assert judged(run, "HW202").reason.endswith("trained before")


def test_the_losses_of_a_gan_cannot_be_judged(tmp_path: Path) -> None:
    pulse = [{"loss": loss, "optimiser": step % 2} for step, loss in enumerate(flat(600))]
    run = made_up.run(tmp_path, pulse=pulse)
    for code in ("HW201", "HW202"):
        verdict = judged(run, code)
        assert verdict.answer == "cannot say"
        assert "as in a GAN" in verdict.reason


def test_two_optimisers_that_share_a_loss_are_no_gan(tmp_path: Path) -> None:
    pulse = [
        {"loss": loss if step % 2 == 0 else None, "optimiser": step % 2}
        for step, loss in enumerate(flat(4800))
    ]
    assert judged(made_up.run(tmp_path, pulse=pulse), "HW202").answer == "wrong"


def test_a_loss_of_both_signs_says_nothing(tmp_path: Path) -> None:
    verdict = judged(_run(tmp_path, flat(600, level=0.0)), "HW202")
    assert verdict.answer == "cannot say"


def test_a_loss_that_fell_and_came_back_cannot_be_judged(tmp_path: Path) -> None:
    losses = [*falling(300, start=0.7, end=0.4), *falling(300, start=0.4, end=0.7)]
    assert judged(_run(tmp_path, losses), "HW202").answer == "cannot say"


def test_a_network_that_lost_what_it_had_learnt_is_told_so(tmp_path: Path) -> None:
    losses = [*falling(500, start=0.7, end=0.1), *flat(300)]
    found = finding(chain(tmp_path, [Layer()] * 3, losses=losses), "HW202")
    assert "which is chance level (0.693), and had been at 0.1" in found.message
    assert found.causes[0].cause == "learning-rate-too-high"


def test_a_softmax_before_a_loss_that_takes_one_is_named(tmp_path: Path) -> None:
    sites = [
        made_up.site("NllLoss", "loss", line=9),
        made_up.site("LogSoftmax", "loss", line=9),
        made_up.site("Softmax", "attention", line=7),
        made_up.site("Addmm", "weights", line=5),
    ]
    rows = [made_up.node(number, number - 1) for number in range(4)]
    pulse = [{"loss": loss} for loss in flat()]
    run = made_up.run(tmp_path, pulse=pulse, sites=rows, info={"sites": sites})
    found = finding(run, "HW202")
    assert found.causes[0].cause == "double-softmax"
    assert "train.py:7 takes the softmax" in found.message


def test_a_rate_that_moves_nothing_is_named(tmp_path: Path) -> None:
    still = [Layer(update=1e-8)] * 3
    found = finding(chain(tmp_path, still, losses=flat(), output_update=1e-8), "HW202")
    assert found.causes[0].cause == "learning-rate-too-low"


def test_a_fall_of_next_to_nothing_under_a_tiny_rate_is_a_warning(tmp_path: Path) -> None:
    still = [Layer(update=1e-8)] * 3
    losses = falling(start=0.7, end=0.68)
    found = finding(chain(tmp_path, still, losses=losses, output_update=1e-8), "HW202")
    assert found.severity == "warning"
    assert found.causes[0].cause == "learning-rate-too-low"
    far = falling(start=0.7, end=0.5)
    moved = chain(tmp_path / "far", still, losses=far, output_update=1e-8)
    assert judged(moved, "HW202").answer == "healthy"


def test_a_loss_that_never_left_chance_level_says_so() -> None:
    chance = float(np.log(2))
    flat_there = loss_trend(np.array(flat(240)), chance=chance)
    assert flat_there.never_left_chance
    assert not loss_trend(np.array(flat(240, level=0.9)), chance=chance).never_left_chance
    assert not loss_trend(np.array(falling(240)), chance=chance).never_left_chance


def test_a_loss_that_came_down_to_chance_level_and_stays_has_learnt_nothing() -> None:
    chance = float(np.log(2))
    came_down = np.concatenate([np.geomspace(6.0, 0.72, 60), np.array(flat(180, level=0.72))])
    assert loss_trend(came_down, chance=chance).at_chance
    goes_on = np.concatenate([np.geomspace(6.0, 0.72, 60), np.geomspace(0.72, 0.3, 180)])
    assert not loss_trend(goes_on, chance=chance).at_chance


@pytest.mark.parametrize("seed", range(20))
def test_noise_alone_is_never_a_fall_or_a_rise(seed: int) -> None:
    random = np.random.default_rng(seed)
    heavy = 2.0 + 0.2 * random.standard_t(3, 1000)
    assert loss_trend(np.abs(heavy)).state in ("flat", "unsteady")
