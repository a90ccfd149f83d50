"""HW106: copies are told from units that only look alike, on trainings and on made-up records."""

from __future__ import annotations

from pathlib import Path

import made_up
import pytest
import torch
from chains import finding, judged
from torch import nn

import headwater as hw
from headwater.runs.reader import Run


def _trained(folder: Path, net: nn.Module, *, steps: int = 60) -> Run:
    torch.manual_seed(0)
    x, y = torch.randn(64, 6), torch.randn(64, 2)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.05)
    with hw.watch(net, optimiser, out=folder / "run", every=10) as run:
        for _ in range(steps):
            optimiser.zero_grad()
            nn.functional.mse_loss(net(x), y).backward()
            optimiser.step()
    return run.record


def _net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))


def test_constant_weights_make_copies(tmp_path: Path) -> None:
    net = _net()
    for layer in (net[0], net[2], net[4]):
        nn.init.constant_(layer.weight, 0.05)
        nn.init.constant_(layer.bias, 0.0)
    found = finding(_trained(tmp_path, net), "HW106")
    assert [where.parameter for where in found.where] == ["0.weight", "2.weight"]
    assert found.causes[0].cause == "constant-init"
    assert "up to 8 units" in found.message


def test_drawn_weights_do_not(tmp_path: Path) -> None:
    assert judged(_trained(tmp_path, _net()), "HW106").answer == "healthy"


def test_an_identity_and_a_head_of_zeros_are_left_in_peace(tmp_path: Path) -> None:
    net = _net()
    nn.init.eye_(net[2].weight)
    nn.init.zeros_(net[4].weight)
    assert judged(_trained(tmp_path, net), "HW106").answer == "healthy"


@pytest.mark.parametrize(
    ("norms", "update", "answer"),
    [
        ([1.0, 1.0, 1.0], 1e-3, "wrong"),
        ([1.0, 1.0, 1.0], 0.0, "healthy"),  # frozen: HW105's, or by design
        ([1.0, 1.0, 1.00001], 1e-3, "healthy"),
        ([1.0], 1e-3, "healthy"),
        ([0.0, 0.0, 0.0], 1e-3, "healthy"),
    ],
)
def test_only_equal_units_that_train_are_copies(
    tmp_path: Path, norms: list[float], update: float, answer: str
) -> None:
    rows = [
        {"step": step, "parameter": 0, "unit_l1": norms, "units": len(norms), "weight_norm": 1.0,
         "relative_update": update}
        for step in (0, 4, 8)
    ]  # fmt: skip
    run = made_up.run(tmp_path, pulse=[{"loss": 1.0}] * 9, parameters=rows)
    assert judged(run, "HW106").answer == answer


def test_one_late_sample_is_too_few_to_say(tmp_path: Path) -> None:
    rows = [{"step": step, "parameter": 0, "unit_l1": [1.0, 1.0]} for step in (0, 4)]
    run = made_up.run(tmp_path, pulse=[{"loss": 1.0}] * 5, parameters=rows)
    assert judged(run, "HW106").answer == "cannot say"
