"""HW103: told where layers die, silent about the few dead units of every narrow ReLU network."""

from pathlib import Path
from typing import Any

import pytest
from chains import Layer, chain, falling, finding, flat, judged

from headwater.rules import saturation
from headwater.runs.reader import Run


def _run(folder: Path, dead: list[float], *, units: int = 5, **more: Any) -> Run:
    """Layers, from the loss, with these shares of dead units in every sample."""
    bias = more.pop("bias", 0.0)
    first = more.pop("first", None)
    layers = [
        Layer(
            bias_norm=bias,
            statistics={
                "units": units,
                "dead": share if first is None else (lambda s, d=share: first if s < 4 else d),
                "dead_recent": lambda step, d=share: d if step >= 2 else None,
                "dead_run": share if first is None else 0.0,
            },
        )
        for share in dead
    ]
    return chain(folder, layers, operation=more.pop("operation", "Relu"), **more)


def test_a_wholly_dead_layer_is_an_error(tmp_path: Path) -> None:
    found = finding(_run(tmp_path, [0.2, 1.0, 0.4], losses=flat()), "HW103")
    assert found.severity == "error"
    assert [where.line for where in found.where] == [69]
    assert found.evidence["dead_layers"] == 1
    assert "Every unit at train.py:69 (hidden1) is dead" in found.message


def test_the_sixth_part_of_a_healthy_narrow_network_is_not_a_fault(tmp_path: Path) -> None:
    """The share of He initialisation at width five, on a plateau before the loss falls."""
    verdict = judged(_run(tmp_path, [0.2, 0.2, 0.4, 0.0, 0.0], losses=flat(200)), "HW103")
    assert verdict.answer == "healthy"
    assert verdict.reason == "16 % of 25 units dead"


def test_two_samples_cannot_tell_a_dead_unit_from_a_resting_one(tmp_path: Path) -> None:
    run = _run(tmp_path, [1.0, 1.0], losses=flat(), samples=(0, 1, 2))
    assert judged(run, "HW103").answer == "wrong"
    fewer = _run(tmp_path, [1.0, 1.0], losses=flat(), samples=(0, 1))
    assert judged(fewer, "HW103").answer == "cannot say"


def test_four_fifths_dead_with_a_stalled_loss_are_a_warning(tmp_path: Path) -> None:
    found = finding(_run(tmp_path, [0.8] * 5, losses=flat(), bias=0.5), "HW103")
    assert found.severity == "warning"
    assert found.evidence["dead_share"] == pytest.approx(0.8)
    assert found.evidence["dead_share_low"] == pytest.approx(0.609, abs=1e-3)
    assert found.causes[0].cause == "weight-init"


def test_large_biases_are_blamed_for_units_dead_from_the_start(tmp_path: Path) -> None:
    found = finding(_run(tmp_path, [0.8] * 5, losses=flat(), bias=2.0 * 32**0.5), "HW103")
    assert found.causes[0].cause == "negative-bias"


def test_units_that_died_in_training_are_blamed_on_the_rate(tmp_path: Path) -> None:
    found = finding(_run(tmp_path, [0.8] * 5, losses=flat(), first=0.16), "HW103")
    assert found.causes[0].cause == "learning-rate-too-high"
    assert found.first_step == 4


def test_a_sparse_network_whose_loss_falls_is_healthy(tmp_path: Path) -> None:
    run = _run(tmp_path, [0.7] * 3, units=512, losses=falling())
    assert judged(run, "HW103").answer == "healthy"


def test_a_dead_layer_of_two_units_needs_a_stalled_loss_too(tmp_path: Path) -> None:
    assert judged(_run(tmp_path, [1.0], units=2, losses=falling()), "HW103").answer == "healthy"
    assert judged(_run(tmp_path, [1.0], units=2, losses=flat()), "HW103").answer == "wrong"


def test_a_network_without_rectifiers_has_no_dead_units(tmp_path: Path) -> None:
    run = _run(tmp_path, [1.0] * 3, losses=flat(), operation="Tanh")
    assert judged(run, "HW103").answer == "healthy"


def test_what_looks_dead_after_the_weights_are_nan_is_not_judged(tmp_path: Path) -> None:
    losses = [*flat(3), *[float("nan")] * 20]
    run = _run(tmp_path, [1.0, 1.0], losses=losses, samples=(0, 1, 4, 8, 16))
    assert judged(run, "HW103").answer == "cannot say"


def test_inputs_far_from_zero_are_blamed_for_units_that_were_dead_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _run(tmp_path, [0.8] * 5, losses=flat())
    assert finding(run, "HW103").causes[0].cause == "weight-init"
    monkeypatch.setattr(saturation, "input_size", lambda _facts: 30.0)
    assert finding(run, "HW103").causes[0].cause == "input-shift"
