"""HW203: swings that the steps make are told from noise, from the data's rhythm and from a fall."""

from __future__ import annotations

import math
from pathlib import Path

import made_up
import numpy as np
import pytest
import torch
from chains import finding, judged
from torch import nn

import headwater as hw
from headwater.rules.oscillation import LIMITS, rhythm
from headwater.runs.reader import Run


def _run(folder: Path, losses: list[float], update: float = 0.01, **settings: float) -> Run:
    rows = [
        {"step": step, "parameter": 0, "weight_norm": 1.0, "relative_update": update}
        for step in range(0, len(losses), 10)
    ]
    optimiser = {"type": "SGD", "settings": {"lr": 0.1, **settings}}
    pulse = [{"loss": loss, "optimiser": 0} for loss in losses]
    return made_up.run(folder, pulse=pulse, parameters=rows, info={"optimisers": [optimiser]})


def _swings(period: float, size: float = 0.5, steps: int = 200) -> list[float]:
    noise = np.random.default_rng(0).normal(0, 0.02, steps)
    return [1 + size * math.cos(2 * math.pi * n / period) + noise[n] for n in range(steps)]


@pytest.mark.parametrize("period", [2, 3.3, 7, 16])
def test_swings_are_found_with_their_period(tmp_path: Path, period: float) -> None:
    found = finding(_run(tmp_path, _swings(period)), "HW203")
    assert found.evidence["period_steps"] == pytest.approx(period, rel=0.1)
    assert found.causes[0].cause == "learning-rate-too-high"


def test_slow_swings_under_much_momentum_are_the_momentum_s(tmp_path: Path) -> None:
    found = finding(_run(tmp_path, _swings(16), momentum=0.99), "HW203")
    assert found.causes[0].cause == "momentum-too-high"


def test_small_swings_are_no_fault(tmp_path: Path) -> None:
    assert judged(_run(tmp_path, _swings(2, size=0.05)), "HW203").answer == "healthy"


def test_the_data_s_rhythm_under_still_weights_is_no_fault(tmp_path: Path) -> None:
    assert judged(_run(tmp_path, _swings(8), update=1e-5), "HW203").answer == "cannot say"


def test_swings_beside_which_the_loss_falls_are_no_fault(tmp_path: Path) -> None:
    losses = [(1 - n / 220) * loss for n, loss in enumerate(_swings(2))]
    assert judged(_run(tmp_path, losses), "HW203").answer == "healthy"


def test_noise_has_a_rhythm_once_in_ten_thousand_draws() -> None:
    random = np.random.default_rng(0)
    strongest = [rhythm(random.normal(1, 0.3, LIMITS.least_steps))[0] for _ in range(10_000)]
    assert sum(power > LIMITS.power for power in strongest) <= 1


def test_steps_that_jump_over_the_valley_swing(tmp_path: Path) -> None:
    """Gradient descent on |w - 2| from 2.1 on: in turn 0.1 and 0.3 away, for ever."""
    net = nn.Linear(2, 1, bias=False)
    nn.init.constant_(net.weight, 1.05)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.2)
    with hw.watch(net, optimiser, out=tmp_path / "run", every=10) as run:
        for _ in range(200):
            optimiser.zero_grad()
            nn.functional.l1_loss(net(torch.ones(1, 2)), torch.full((1, 1), 2.0)).backward()
            optimiser.step()
    found = finding(run.record, "HW203")
    assert found.evidence["period_steps"] == pytest.approx(2, rel=0.05)
