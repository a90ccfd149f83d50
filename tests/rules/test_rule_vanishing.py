"""HW101: told where the signal dies and the layers stand still, silent where either is missing."""

from pathlib import Path

import pytest
from chains import Layer, chain, falling, finding, flat, judged

DEEP = 8


def _sigmoids(update: float = 1e-9) -> list[Layer]:
    """Sigmoid layers: each takes 0.6 decades, and the starved half does not move."""
    return [
        Layer(activation=-0.6, weights=-0.1, update=1e-3 if depth < 3 else update)
        for depth in range(DEEP)
    ]


def test_a_signal_that_dies_in_sigmoids_while_the_loss_stalls_is_an_error(tmp_path: Path) -> None:
    found = finding(chain(tmp_path, _sigmoids(), losses=flat(), operation="Sigmoid"), "HW101")
    assert found.severity == "error"
    assert found.evidence["lost_decades"] == pytest.approx(0.7 * 8 - 0.1)
    assert [cause.cause for cause in found.causes] == [
        "inherent-derivative",
        "weight-scale-too-small",
    ]
    assert found.causes[0].share == pytest.approx(4.8 / 5.5, abs=1e-3)
    assert "loses 5.5 decades on its way to train.py:63 (hidden7)" in found.message
    assert "4.8 of them in 8 sigmoid calls" in found.message
    assert found.where[0].parameter == "hidden4.weight"
    assert found.remedies[0] == "relu"


def test_its_shares_are_those_of_the_ledger(tmp_path: Path) -> None:
    run = chain(tmp_path, _sigmoids(), losses=flat(), operation="Sigmoid")
    by_kind = run.ledger().by_kind("hidden7.weight")
    causes = {cause.cause: cause.share for cause in finding(run, "HW101").causes}
    lost = by_kind["activation"] + by_kind["weights"]
    assert causes["inherent-derivative"] == pytest.approx(by_kind["activation"] / lost, abs=1e-3)


def test_a_signal_that_keeps_its_size_is_healthy(tmp_path: Path) -> None:
    run = chain(tmp_path, [Layer(activation=-0.05)] * DEEP, losses=falling())
    assert judged(run, "HW101").answer == "healthy"


def test_two_samples_are_too_few_to_say(tmp_path: Path) -> None:
    run = chain(tmp_path, _sigmoids(), losses=flat(), samples=(0, 1))
    verdict = judged(run, "HW101")
    assert verdict.answer == "cannot say"
    assert verdict.reason == "the record has 2 sampled steps and no loss sampled three times"


def test_a_network_drawn_without_a_signal_is_a_warning_though_adam_moves_it(
    tmp_path: Path,
) -> None:
    run = chain(tmp_path, _sigmoids(update=8e-4), losses=flat(), operation="Sigmoid")
    found = finding(run, "HW101")
    assert found.severity == "warning"
    assert found.first_step == 0
    assert found.causes[0].cause == "inherent-derivative"
    assert found.message.startswith("As the network was drawn, the gradient loses 5.5 decades")


def test_once_the_loss_shows_that_it_was_made_up_for_it_is_told_as_history(tmp_path: Path) -> None:
    run = chain(tmp_path, _sigmoids(update=8e-4), losses=falling(end=0.1), operation="Sigmoid")
    found = finding(run, "HW101")
    assert found.severity == "info"
    assert "Training has made up for it" in found.message


def test_a_signal_lost_in_one_of_the_first_samples_is_an_odd_batch(tmp_path: Path) -> None:
    layers = [Layer(weights=-0.3, update=8e-4) for _ in range(DEEP)]
    run = chain(tmp_path, layers, losses=flat(), underflow=1)
    assert judged(run, "HW101").answer == "healthy"


def test_many_layers_that_each_take_little_are_too_many(tmp_path: Path) -> None:
    layers = [Layer(weights=-0.2, update=8e-4) for _ in range(20)]
    found = finding(chain(tmp_path, layers, losses=flat()), "HW101")
    assert found.causes[0].cause == "depth-beyond-trainable"
    assert found.remedies[0] == "residual-connections"


def test_layers_that_stand_still_under_a_strong_signal_are_not_starved(tmp_path: Path) -> None:
    slow = [Layer(update=1e-8)] * DEEP
    assert judged(chain(tmp_path, slow, losses=flat()), "HW101").answer == "healthy"


def test_slow_layers_of_a_network_whose_loss_falls_are_withdrawn(tmp_path: Path) -> None:
    layers = [Layer(activation=-0.6, update=5e-2 if depth < 3 else 2e-4) for depth in range(DEEP)]
    found = finding(chain(tmp_path, layers, losses=falling(end=0.1)), "HW101")
    assert found.severity == "info"
    assert "made up for it" in found.message


def test_frozen_layers_of_a_network_whose_loss_falls_are_a_warning(tmp_path: Path) -> None:
    found = finding(chain(tmp_path, _sigmoids(), losses=falling()), "HW101")
    assert found.severity == "warning"


def test_averaging_over_positions_alone_is_no_loss_of_signal(tmp_path: Path) -> None:
    """The root mean square falls by 3.6 decades where the norm falls by 1.6."""
    layers = [
        Layer(activation=-0.8, update=1e-3),
        Layer(activation=-0.8, update=1e-9),
        Layer(update=1e-9),
    ]
    wide = chain(tmp_path, layers, losses=flat(), elements=lambda depth: 10 ** (2 * depth + 4))
    assert judged(wide, "HW101").answer == "healthy"


def test_exactly_zero_is_named_with_the_operation_that_did_it(tmp_path: Path) -> None:
    layers = [Layer(), Layer(activation=float("-inf"), update=0.0), Layer(update=0.0)]
    found = finding(chain(tmp_path, layers, losses=flat(), operation="Gelu"), "HW101")
    assert found.evidence["exactly_zero"] == 2
    assert "lost_decades" not in found.evidence
    assert "is exactly zero at train.py:69 (hidden1), by 1 gelu call (train.py:69)" in found.message
    assert "hidden1.weight, hidden2.weight do not move" in found.message


def test_a_gradient_that_died_for_good_is_accounted_for_where_it_last_lived(
    tmp_path: Path,
) -> None:
    """Tiny weights lose it layer by layer, until float32 has no number small enough."""
    layers = [Layer(weights=-1.2, update=1e-3 if depth < 2 else 0.0) for depth in range(8)]
    run = chain(tmp_path, layers, losses=flat(), underflow=8)
    found = finding(run, "HW101")
    assert found.causes[0].cause == "weight-scale-too-small"
    assert found.evidence["exactly_zero"] == 1
    assert "loses 8.4 decades" in found.message


def test_a_branch_that_starts_at_zero_starves_what_is_behind_it_by_design(tmp_path: Path) -> None:
    """LoRA: the second matrix starts at zero, so the first gets next to nothing at first."""
    second = Layer(weights=-4.0, weight_norm=lambda step: 1e-3 * step, update=0.5)
    layers = [second, Layer(update=1e-7), Layer(update=1e-7)]
    assert judged(chain(tmp_path, layers, losses=flat()), "HW101").answer == "healthy"
    drawn = [Layer(weights=-4.0), *layers[1:]]
    assert judged(chain(tmp_path, drawn, losses=flat()), "HW101").answer == "wrong"


def test_saturated_activations_are_blamed_as_such(tmp_path: Path) -> None:
    layers = [
        Layer(activation=-1.5, update=1e-3 if depth < 1 else 1e-9, statistics={"saturated": 0.9})
        for depth in range(4)
    ]
    found = finding(chain(tmp_path, layers, losses=flat()), "HW101")
    assert found.causes[0].cause == "saturation"


def test_a_gradient_that_ends_in_dead_units_is_left_to_the_rule_of_dead_units(
    tmp_path: Path,
) -> None:
    dead = {"dead": 1.0, "dead_recent": 1.0, "dead_run": 1.0}
    layers = [Layer(), Layer(activation=float("-inf"), update=0.0, statistics=dead)]
    run = chain(tmp_path, layers, losses=flat(), operation="Relu")
    assert judged(run, "HW101").answer == "healthy"
    assert judged(run, "HW103").answer == "wrong"


def test_a_loop_that_forgets_is_a_fault_only_if_the_loss_stands_still(tmp_path: Path) -> None:
    loop = [Layer(activation=-0.2, weights=-0.1)] * 20
    found = finding(chain(tmp_path, loop, losses=flat(), recurrent=True), "HW101")
    assert found.causes[0].cause == "recurrent-contraction"
    assert found.evidence["calls"] == 20
    for losses in (falling(), flat(200)):
        run = chain(tmp_path, loop, losses=losses, recurrent=True)
        assert judged(run, "HW101").answer == "healthy"


def test_without_recorded_updates_only_a_stalled_loss_is_consequence_enough(
    tmp_path: Path,
) -> None:
    layers = [Layer(activation=-0.6, update=float("nan"))] * DEEP
    unmeasured = {"output_update": float("nan")}
    assert finding(chain(tmp_path, layers, losses=flat(), **unmeasured), "HW101")
    verdict = judged(chain(tmp_path, layers, losses=falling(), **unmeasured), "HW101")
    assert verdict.answer == "cannot say"
