"""HW201 of a loss that falls for ever, told from losses that are below zero and have an end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import headwater as hw
from headwater.records import Finding
from headwater.rules import judge
from headwater.rules.unbounded import falls_on
from headwater.runs.reader import Run
from headwater.watch import faults

Loss = Callable[[Tensor, Tensor], Tensor]


def _trained(
    folder: Path, loss_of: Loss, *, steps: int = 150, by: Any = torch.optim.Adam, rate: float = 0.01
) -> Run:
    """Train four outputs on four blobs, a batch of 64 at a time."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU())
    model.append(nn.Linear(16, 4))
    optimiser = by(model.parameters(), lr=rate)
    with hw.watch(model, optimiser, every=8, out=folder) as seen:
        for _ in range(steps):
            targets = torch.randint(4, (64,))
            inputs = torch.randn(64, 4) + 2 * F.one_hot(targets, 4)
            optimiser.zero_grad()
            loss_of(model(inputs), targets).backward()
            optimiser.step()
    return seen.record


def _findings(run: Run) -> list[Finding]:
    return [one for verdict in judge(run) for one in verdict.findings]


def _of_hw201(run: Run) -> list[Finding]:
    return [one for one in _findings(run) if one.code == "HW201"]


def _score(outputs: Tensor, targets: Tensor) -> Tensor:
    return -outputs.gather(1, targets[:, None]).mean()


def _raw_nll(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.nll_loss(outputs, targets)


def _negative_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return -F.cross_entropy(outputs, targets)


def _negative_square(outputs: Tensor, targets: Tensor) -> Tensor:
    return -1 * F.mse_loss(outputs, F.one_hot(targets, 4).float())


def _signs(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs, 2.0 * F.one_hot(targets, 4) - 1)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (_score, "outputs go into it as they are"),
        (_raw_nll, "nll_loss takes log-probabilities"),
        (_negative_entropy, "cross_entropy is never negative, so its sign was turned round"),
        (_signs, "binary_cross_entropy_with_logits takes targets from 0 to 1 and is given -1 to 1"),
        (_negative_square, "mse_loss is never negative, so its sign was turned round"),
    ],
)
def test_a_loss_without_a_lower_bound_is_named(loss: Loss, words: str, tmp_path: Path) -> None:
    (found,) = _of_hw201(_trained(tmp_path / "run", loss))
    assert [one.cause for one in found.causes] == ["unbounded-loss"]
    assert words in found.message
    assert found.message.startswith("The loss has no lower bound, and falls from ")


def _similarity(outputs: Tensor, targets: Tensor) -> Tensor:
    return -F.cosine_similarity(outputs, F.one_hot(targets, 4).float()).mean()


def _likelihood(outputs: Tensor, targets: Tensor) -> Tensor:
    """Of a number that noise keeps from being told better than by a tenth."""
    wanted = targets / 10 + 0.1 * torch.randn(len(targets))
    mean, log_variance = outputs[:, 0], outputs[:, 1]
    return (log_variance + (wanted - mean) ** 2 / log_variance.exp()).mean() / 2


def _entropy_bonus(outputs: Tensor, targets: Tensor) -> Tensor:
    logs = F.log_softmax(outputs, -1)
    return F.nll_loss(logs, targets) + 3 * (logs.exp() * logs).sum(-1).mean()


def _advantages(outputs: Tensor, targets: Tensor) -> Tensor:
    """A policy's gradient: actions are drawn, and weighed by how much better than usual they do."""
    actions = torch.distributions.Categorical(logits=outputs.detach()).sample()
    rewards = (actions == targets).float()
    weights = rewards - rewards.mean()
    return (F.cross_entropy(outputs, actions, reduction="none") * weights).mean()


@pytest.mark.parametrize("loss", [_similarity, _likelihood, _entropy_bonus, _advantages])
@pytest.mark.parametrize("steps", [30, 60, 150, 400])
def test_a_loss_below_zero_that_has_an_end_is_left_alone(
    loss: Loss, steps: int, tmp_path: Path
) -> None:
    assert _of_hw201(_trained(tmp_path / "run", loss, steps=steps)) == []


@pytest.mark.parametrize("seen_live", [True, False])
def test_an_overflow_is_put_down_to_the_loss(
    seen_live: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the process cannot be copied, as on a CUDA device."""
    if seen_live and faults.why_not_forked():
        pytest.skip("this process cannot be copied")
    if not seen_live:
        monkeypatch.setattr(faults, "why_not_forked", lambda: "it cannot be copied")
    found = _findings(_trained(tmp_path / "run", _negative_entropy, by=torch.optim.SGD, rate=0.05))
    (broken,) = [one for one in found if one.code == "HW301"]
    assert broken.causes[0].cause == "unbounded-loss", broken
    assert "Turn the loss's sign" in broken.message
    assert ("the loss has no lower bound" in broken.message) == seen_live


def test_an_input_that_is_changed_to_raise_an_output_is_meant_so(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1)).requires_grad_(False)
    picture = torch.randn(1, 4, requires_grad=True)
    optimiser = torch.optim.Adam([picture], lr=0.1)
    with hw.watch(model, optimiser, every=8, out=tmp_path / "run") as seen:
        for _ in range(150):
            optimiser.zero_grad()
            (-model(picture).mean()).backward()
            optimiser.step()
    assert _of_hw201(seen.record) == []


@pytest.mark.parametrize("power", [2, 4])
def test_without_a_graph_that_proves_it_a_loss_has_to_fall_ever_faster(power: int) -> None:
    steps = np.arange(1.0, 401.0)
    assert falls_on(-((steps / 40) ** power))
    assert falls_on(-((steps / 40) ** power), alone=True) == (power == 4)
    assert not falls_on(-np.log(steps), alone=True)
    assert not falls_on(-((steps[:19] / 40) ** power))


def test_a_loss_that_wanders_below_zero_has_not_fallen() -> None:
    """No more often than chance orders ten numbers: of 400 not one."""
    random = np.random.default_rng(0)
    assert not any(falls_on(random.normal(-0.1, 1.0, 200)) for _ in range(400))


def test_a_first_spike_downwards_is_no_start() -> None:
    losses = np.concatenate([[-1e3] * 3, -np.arange(1.0, 98.0)])
    assert falls_on(losses)
