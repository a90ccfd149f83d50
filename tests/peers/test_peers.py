"""Every rule of a peer: it will speak, and it will not; its limits have sources."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import made_up
import numpy as np
import pytest
from benchmarks import peers
from benchmarks.peers import PEERS, autotrainer, deepchecker, sagemaker, umlaut
from corpus import recording
from corpus.cases import all_cases
from peers.made import columns, falling, noisy

from headwater.rules import RULES
from headwater.runs.reader import Run

HEALTHY = falling()
TINY = {"gradient_exponent": -40, "gradient_counts": [16]}
CASES: list[tuple[Any, str, dict[str, Any]]] = [
    (sagemaker, "VanishingGradient", {"row": TINY}),
    (sagemaker, "ExplodingTensor", {"losses": [*falling(80), math.nan]}),
    (sagemaker, "PoorWeightInitialization", {"row": {"gradient_exponent": -14}}),
    (sagemaker, "SaturatedActivation", {"operation": "Tanh", "layer": {"variance": 900.0}}),
    (sagemaker, "DeadRelu", {"layer": {"dead": 0.75}}),
    (sagemaker, "LossNotDecreasing", {"losses": [1.0 + step for step in range(80)]}),
    (sagemaker, "WeightUpdateRatio", {"row": {"relative_update": 0.0}}),
    (sagemaker, "AllZero", {"row": {"zero_share": 1.0}}),
    (sagemaker, "UnchangedTensor", {"losses": [0.7] * 80}),
    (autotrainer, "vanish", {"losses": [0.7] * 240, "norms": (1e-6, 1.0)}),
    (autotrainer, "explode", {"losses": [0.7] * 240, "norms": (100.0, 1.0)}),
    (autotrainer, "relu", {"losses": [0.7] * 240, "row": {"zero_share": 0.9}}),
    (autotrainer, "not_converge", {"losses": [0.7] * 240}),
    (autotrainer, "unstable", {"losses": [0.1 + (step // 8) % 2 for step in range(240)]}),
    (deepchecker, "poor_init", {"row": {"weight_norm": 1e-6}}),
    (deepchecker, "unusual_init", {"row": {"weight_norm": 40.0}}),
    (deepchecker, "poor_init_loss", {"losses": [9.0, *falling()]}),
    (deepchecker, "not_finite", {"losses": [*falling(80), math.inf]}),
    (deepchecker, "saturated", {"operation": "Tanh", "layer": {"saturated_units": 0.9}}),
    (deepchecker, "dead", {"layer": {"dead": 0.75}}),
    (deepchecker, "unstable_activations", {"layer": {"variance": 400.0}}),
    (deepchecker, "w_untrained", {"row": {"relative_update": 0.0}}),
    (deepchecker, "w_fast", {"row": {"relative_update": 0.5}}),
    (deepchecker, "w_slow", {"row": {"relative_update": 1e-6}}),
    (deepchecker, "w_dead", {"row": {"weight_norm": 1e-7}}),
    (deepchecker, "w_diverging", {"row": {"weight_norm": 1e12}}),
    (deepchecker, "vanishing", {"row": TINY}),
    (deepchecker, "exploding", {"row": {"gradient_exponent": 30}}),
    (deepchecker, "stagnated_loss", {"losses": [0.7] * 240}),
    (deepchecker, "div_loss", {"losses": [1.1**step for step in range(240)]}),
    (deepchecker, "fluctuated_loss", {"losses": [1 + (step // 10) % 2 for step in range(240)]}),
    (umlaut, "nan_loss", {"losses": [*falling(80), math.nan]}),
]


def _hears(peer: Any, folder: Path, changes: dict[str, Any]) -> set[str]:
    values = {"losses": HEALTHY, **changes}
    return set(peer.hears(columns(folder, values.pop("losses"), **values)))


@pytest.mark.parametrize(("peer", "rule", "changes"), CASES)
def test_a_rule_speaks_of_what_it_is_for(
    peer: Any, rule: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    assert rule in _hears(peer, tmp_path, changes)


@pytest.mark.parametrize("operation", ["Relu", "Tanh"])
@pytest.mark.parametrize("peer", [sagemaker, autotrainer, deepchecker, umlaut])
def test_no_rule_speaks_of_a_training_that_runs_as_it_should(
    peer: Any, operation: str, tmp_path: Path
) -> None:
    norm = {"weight_norm": 2.8} if operation == "Relu" else {"weight_norm": 2.0}
    unit = {"variance": 1.0 if operation == "Relu" else 0.6}
    row = {**norm, "unit_l1": [0.5, 0.6, 0.7, 0.8]}
    heard = _hears(peer, tmp_path, {"operation": operation, "row": row, "layer": unit})
    assert heard == set()


def test_sagemaker_s_rule_of_the_loss_speaks_of_noise_alone(tmp_path: Path) -> None:
    assert "LossNotDecreasing" in _hears(sagemaker, tmp_path, {"losses": noisy()})


def test_autotrainer_s_ratio_does_not_see_gradients_that_are_all_small(tmp_path: Path) -> None:
    heard = _hears(autotrainer, tmp_path, {"losses": [0.7] * 240, "norms": (4e-12, 1e-12)})
    assert heard == {"not_converge"}


def test_autotrainer_keeps_silent_of_a_small_ratio_where_the_network_learns(tmp_path: Path) -> None:
    assert _hears(autotrainer, tmp_path, {"norms": (1e-6, 1.0)}) == set()


def test_deepchecker_stops_looking_once_its_batch_is_learnt(tmp_path: Path) -> None:
    learnt = [1.0] + [0.01] * 239
    assert "stagnated_loss" not in _hears(deepchecker, tmp_path, {"losses": learnt})


def test_umlaut_knows_a_loss_that_is_given_no_probabilities(tmp_path: Path) -> None:
    bare = columns(tmp_path, HEALTHY)
    bare.operations = frozenset({"NllLoss", "Relu"})  # type: ignore[misc]
    assert "no_softmax" in umlaut.hears(bare)


def test_umlaut_and_deepchecker_know_large_inputs_and_drawn_biases_in_a_recorded_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "FOLDER", tmp_path)
    plain, raw = all_cases()["mlp-moons/plain/1"], all_cases()["mlp-circles/raw-inputs-tanh-1/0"]
    recording.record_all([plain, raw])
    said = [peers.judge(Run.open(recording.folder_of(case))).alarms for case in (plain, raw)]
    of_inputs = [{alarm.rule for alarm in one["UMLAUT"]} for one in said]
    assert "input_normalization" in of_inputs[1]
    biases = {alarm.rule for alarm in said[0]["TheDeepChecker"]}
    assert "zero_bias" in biases  # the head's biases are drawn, as PyTorch does


def test_the_mean_of_a_gradient_is_told_from_its_exponents(tmp_path: Path) -> None:
    entries = np.abs(np.random.default_rng(0).normal(size=4096))
    exponents = np.floor(np.log2(entries)).astype(int)
    row = {
        "gradient_exponent": int(exponents.min()),
        "gradient_counts": np.bincount(exponents - exponents.min()).tolist(),
    }
    read = columns(tmp_path, HEALTHY, row=row)
    assert read.mean_gradient[0, 0] == pytest.approx(entries.mean(), rel=0.1)
    assert read.wide_gradient[0, 0] >= np.quantile(entries, 0.9)


def test_a_record_of_a_training_killed_at_once_is_judged_in_silence(tmp_path: Path) -> None:
    for pulse in ([], [{"loss": None}], [{"loss": 0.7, "gradient_norms": [1.0]}]):
        heard = peers.judge(made_up.run(tmp_path, pulse=pulse))
        assert not any(heard.alarms.values())


def test_figures_out_of_all_range_are_judged_all_the_same(tmp_path: Path) -> None:
    wild = columns(
        tmp_path, [1e300, math.inf, math.nan] * 30, norms=(math.inf, 0.0),
        row={"gradient_exponent": 1023, "weight_norm": math.inf},
        layer={"variance": math.inf, "mean": math.nan},
    )  # fmt: skip
    said = peers.judge(wild.run).alarms
    assert {alarm.rule for alarm in said["SageMaker Debugger"]} >= {"ExplodingTensor"}
    assert {alarm.rule for alarm in said["TheDeepChecker"]} >= {"not_finite"}


@pytest.mark.parametrize("module", [sagemaker, autotrainer, deepchecker, umlaut])
def test_every_threshold_names_the_place_that_states_it(module: Any) -> None:
    assert all(len(one.metadata["source"]) > 10 for one in fields(module.Thresholds))


def test_every_alarm_has_symptoms_of_ours_and_a_reason() -> None:
    for peer in PEERS:
        assert peer.meanings
        assert peer.left_out
        for meaning in peer.meanings.values():
            assert meaning.codes <= set(RULES)
            assert meaning.codes
            assert meaning.why


def test_every_cause_that_an_alarm_can_name_is_one_of_the_corpus_s() -> None:
    known = {
        cause for case in all_cases().values() for one in case.injected for cause in one.causes
    }
    named = {cause for peer in PEERS for one in peer.meanings.values() for cause in one.causes}
    assert named <= known


def test_every_rule_is_tried_here_by_a_case_of_its_own() -> None:
    elsewhere = {"zero_bias", "input_normalization", "no_softmax"}
    rules = {rule for peer in PEERS for rule in peer.meanings}
    assert {rule for _, rule, _ in CASES} | elsewhere == rules
