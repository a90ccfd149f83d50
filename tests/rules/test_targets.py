"""Chance level and outputs out of reach, judged by the targets that the loss kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import made_up
import numpy as np
import pytest
import torch
from chains import Layer, chain, falling, finding, flat, judged

import headwater
from headwater.records import Verdict
from headwater.rules.facts import Facts
from headwater.runs.reader import Run

OUTPUTS = 512
SAMPLES = (0, 1, 2, 4, 8, *range(300, 600, 30))
ASKED = {"target_mean": 3.0, "target_variance": 4.0, "target_least": -2.0, "target_largest": 9.0}


def _squares(folder: Path, losses: list[float], *, weight: float = 1.0, **more: Any) -> Run:
    """Write a regression: outputs ``[512, 1]``, a mean of squares times ``weight``."""
    level = math.log10(2 * math.sqrt(weight * losses[0] / OUTPUTS))
    given: dict[str, Any] = {
        "asks": lambda _step: ASKED,
        "samples": SAMPLES,
        "loss": "MseLoss",
        "output_level": level,
        "output_update": 0.02,
    }
    layers = [Layer(update=0.02, statistics={"dead": 0.0, "dead_recent": 0.0})] * 3
    return chain(folder, layers, losses=losses, **{**given, **more})


def _came_down(to: float) -> list[float]:
    return [to + 40 * math.exp(-step / 30) for step in range(600)]


@pytest.mark.parametrize("weight", [1.0, 512.0, 0.25])
def test_the_chance_level_of_squares_is_the_variance_times_the_losss_weight(
    tmp_path: Path, weight: float
) -> None:
    losses = (weight * np.array(flat(level=4.0))).tolist()
    facts = Facts(_squares(tmp_path, losses, weight=weight))
    assert facts.chance == pytest.approx(4.0 * weight, rel=1e-6)
    assert facts.trend.at_chance


def test_a_regression_that_fell_from_far_above_to_chance_has_learnt_nothing(
    tmp_path: Path,
) -> None:
    found = finding(_squares(tmp_path, _came_down(4.0)), "HW202")
    assert "chance level (4)" in found.message
    assert found.causes[0].cause == "labels-independent-of-inputs"


def test_one_that_explains_a_part_of_its_targets_learns(tmp_path: Path) -> None:
    assert judged(_squares(tmp_path, _came_down(3.2)), "HW202").answer == "healthy"


def test_batches_that_vary_are_held_against_their_own_targets(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    variance = 4.0 * random.lognormal(0, 0.5, 600)  # the loss's noise hides a fall of 5 %
    losses = (variance * np.linspace(1.05, 1.0, 600)).tolist()

    def asks(step: int) -> Mapping[str, float]:
        return {**ASKED, "target_variance": float(variance[step])}

    assert Facts(_squares(tmp_path, losses, asks=asks)).trend.at_chance


def test_targets_out_of_scale_are_told_by_their_own_size(tmp_path: Path) -> None:
    raw = {"target_mean": 150.0, "target_variance": 77.0**2, "target_least": 25.0}
    run = _squares(
        tmp_path, _came_down(77.0**2), asks=lambda _step: {**raw, "target_largest": 346.0}
    )
    found = finding(run, "HW202")
    assert found.causes[0].cause == "unscaled-targets"
    assert "the targets are 150 ± 77" in found.message


def _classes(folder: Path, losses: list[float], entropy: float) -> Run:
    return chain(
        folder,
        [Layer(update=0.02, statistics={"dead": 0.0, "dead_recent": 0.0})] * 3,
        losses=losses,
        samples=SAMPLES,
        loss="NllLoss",
        classes=4,
        output_update=0.02,
        asks=lambda _step: {"target_entropy": entropy},
    )


def test_of_unbalanced_classes_chance_is_the_entropy_of_their_labels(tmp_path: Path) -> None:
    run = _classes(tmp_path, flat(level=0.9), entropy=0.9)
    assert Facts(run).chance == pytest.approx(0.9)
    assert finding(run, "HW202").causes[0].cause == "labels-independent-of-inputs"
    assert judged(_classes(tmp_path, flat(level=0.9), entropy=1.3), "HW202").answer == "healthy"


@pytest.mark.parametrize(
    ("weight", "passes", "scale"),
    [(1.0, 1, None), (0.01, 1, None), (0.25, 4, None), (1.0, 3, None), (0.01, 2, 1024.0)],
)
def test_a_losss_own_weight_and_its_passes_are_in_its_chance_level(
    tmp_path: Path, weight: float, passes: int, scale: float | None
) -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 4)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-6)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale or 1.0, enabled=scale is not None)
    inputs, labels = torch.randn(64, 3), torch.arange(64) % 4
    with headwater.watch(out=tmp_path / "run", every=1) as watch:
        for _ in range(4):
            optimiser.zero_grad()
            for _ in range(passes):
                loss = weight * torch.nn.functional.cross_entropy(model(inputs), labels)
                scaler.scale(loss).backward()
            scaler.step(optimiser)
            scaler.update()
    facts = Facts(watch.record)
    assert facts.chance == pytest.approx(weight * passes * math.log(4), rel=0.02)
    assert facts.pulse.loss[0] == pytest.approx(facts.chance, rel=0.3)


def _ending_in(folder: Path, operation: str, losses: list[float], **more: Any) -> Verdict:
    """Judge the loss of a network whose output goes through an activation on line 85."""
    run = _squares(folder, losses, **more)
    sites = [*run.info.sites, made_up.site(operation, "activation", line=85)]
    rows: list[dict[str, Any]] = []
    for row in run.site_rows.to_pylist():
        if row["node"] == 0:
            rows.append(row)
            continue
        if row["node"] == 1:
            own = {"site": len(sites) - 1, "node": 1, "dead": 0.0, "units": 1}
            rows.append({**row, **own})
        rows.append({**row, "node": row["node"] + 1, "parent": row["parent"] + 1})
    changed = made_up.run(
        folder,
        pulse=run.pulse.to_pylist(),
        sites=rows,
        parameters=run.parameter_rows.to_pylist(),
        info={"sites": sites, "parameters": list(run.parameters)},
    )
    return judged(changed, "HW202")


def test_an_output_that_cannot_reach_its_targets_is_told_though_the_loss_falls(
    tmp_path: Path,
) -> None:
    losses = falling(start=15.0, end=8.0)
    (found,) = _ending_in(tmp_path, "Sigmoid", losses).findings
    assert (found.severity, found.causes[0].cause) == ("warning", "output-range")
    assert found.where[0].line == 85
    assert "puts out 1 at most, and targets go up to 9" in found.message


@pytest.mark.parametrize("name", ["LeakyRelu", "Gelu"])
def test_an_output_that_reaches_anything_is_not(tmp_path: Path, name: str) -> None:
    assert _ending_in(tmp_path, name, falling(start=15.0, end=8.0)).answer == "healthy"


def test_targets_a_little_beyond_the_end_are_noise(tmp_path: Path) -> None:
    verdict = _ending_in(
        tmp_path,
        "Relu",
        falling(start=15.0, end=8.0),
        asks=lambda _step: {**ASKED, "target_least": -0.5},
    )
    assert verdict.answer == "healthy"
