"""HW107: inputs that became one direction are told from a network that put them there itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from chains import Layer, chain, falling, finding, flat, judged

from headwater.records import Verdict


def _layers(shares: list[float], **more: float) -> list[Layer]:
    """Return layers, the last hidden one first, with these shares in one direction."""
    moments = {"mean": 0.0, "variance": 0.5, "units": 5, **more}
    return [Layer(statistics={"first_direction": share, **moments}) for share in shares]


def test_a_signal_that_collapses_on_the_way_is_found_where_it_does(tmp_path: Path) -> None:
    run = chain(tmp_path, _layers([0.9999, 0.999, 0.93]), losses=flat())
    found = finding(run, "HW107")
    assert found.evidence["layers"] == 2
    assert [where.module for where in found.where] == ["hidden1", "hidden0"]
    assert found.causes[0].cause == "ordered-phase"
    assert "From train.py:69 (hidden1) on 99.9 %" in found.message


def test_weights_that_pull_one_way_are_its_cause(tmp_path: Path) -> None:
    run = chain(tmp_path, _layers([0.9999, 0.999, 0.93], variance=9.0), losses=flat())
    assert finding(run, "HW107").causes[0].cause == "non-zero-mean-init"


def test_a_deep_network_loses_it_by_depth(tmp_path: Path) -> None:
    run = chain(tmp_path, _layers([0.9999] * 6 + [0.9] * 6), losses=flat())
    assert finding(run, "HW107").causes[0].cause == "depth-beyond-trainable"


@pytest.mark.parametrize(
    ("shares", "losses"),
    [
        ([0.9999, 0.999, 0.93], falling()),  # a classifier of two classes ends there
        ([0.95, 0.9, 0.8], flat()),
        ([0.95, 0.999, 0.8], flat()),  # a narrow layer, opened again behind
    ],
)
def test_where_the_examples_are_told_apart_it_is_silent(
    tmp_path: Path, shares: list[float], losses: list[float]
) -> None:
    assert judged(chain(tmp_path, _layers(shares), losses=losses), "HW107").answer == "healthy"


def test_without_the_figures_it_cannot_say(tmp_path: Path) -> None:
    run = chain(tmp_path, [Layer(statistics={"saturated": 0.9})] * 3, losses=flat())
    assert judged(run, "HW107").answer == "cannot say"


def _attention(folder: Path, shares: list[float], losses: list[float]) -> Verdict:
    layers = [Layer(statistics={"saturated": lambda step: shares[min(step, len(shares) - 1)]})] * 2
    run = chain(folder, layers, losses=losses, operation="Softmax", kind="attention")
    return judged(run, "HW107")


def test_attention_that_is_one_hot_from_the_start_is_told_until_the_loss_has_left(
    tmp_path: Path,
) -> None:
    (found,) = _attention(tmp_path, [0.97], flat()).findings
    assert (found.severity, found.causes[0].cause) == ("error", "attention-collapse")
    assert "train.py:70" in found.message
    (slow,) = _attention(tmp_path, [0.97], falling(end=0.5)).findings
    assert slow.severity == "warning"
    assert _attention(tmp_path, [0.97], falling(end=0.05)).answer != "wrong"


@pytest.mark.parametrize("shares", [[0.5], [0.3, 0.5, 0.97], [0.97, 0.97, 0.97, 0.5]])
def test_attention_that_became_sure_in_training_may_have_learnt_to(
    tmp_path: Path, shares: list[float]
) -> None:
    assert _attention(tmp_path, shares, flat()).answer != "wrong"
