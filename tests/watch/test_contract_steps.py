"""What a step is where no torch optimiser says so, and where several do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import headwater

STEPS = 12
Update = Callable[[nn.Module, Tensor, int], None]


def by_subtraction(model: nn.Module, loss: Tensor, _number: int) -> None:
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter -= 0.1 * parameter.grad  # noqa: PLW2901
            parameter.grad = None


def by_zeroing(model: nn.Module, loss: Tensor, _number: int) -> None:
    loss.backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        parameter.data.sub_(0.1 * parameter.grad)
        parameter.grad.zero_()


def by_replacing(model: nn.Module, loss: Tensor, _number: int) -> None:
    loss.backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        parameter.data = parameter.data - 0.1 * parameter.grad
        parameter.grad = torch.zeros_like(parameter)


def by_never_zeroing(model: nn.Module, loss: Tensor, _number: int) -> None:
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter -= 0.01 * parameter.grad  # noqa: PLW2901


def by_asking_for_gradients(model: nn.Module, loss: Tensor, _number: int) -> None:
    gradients = torch.autograd.grad(loss, model.parameters())
    with torch.no_grad():
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter -= 0.1 * gradient  # noqa: PLW2901


def by_accumulating_three(model: nn.Module, loss: Tensor, number: int) -> None:
    loss.backward()
    if number % 3 == 2:
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter.data.sub_(0.1 * parameter.grad)
            parameter.grad = None


OPTIONS: tuple[tuple[dict[str, Any], Callable[[int], list[int]]], ...] = (
    ({"every": 1}, lambda steps: list(range(steps))),
    ({"every": 3}, lambda steps: [s for s in range(steps) if s % 3 == 0 or s < 3]),
    ({"overhead": 1.0, "steps": (2, 4)}, lambda steps: [s for s in (2, 3) if s < steps]),
)


@pytest.mark.parametrize(("options", "sampled"), OPTIONS)
@pytest.mark.parametrize(
    ("update", "passes"),
    [
        (by_subtraction, 1),
        (by_zeroing, 1),
        (by_replacing, 1),
        (by_never_zeroing, 1),
        (by_asking_for_gradients, 1),
        (by_accumulating_three, 3),
    ],
)
def test_a_step_by_hand_is_one_step_with_its_lines(
    update: Update,
    passes: int,
    options: dict[str, Any],
    sampled: Callable[[int], list[int]],
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    losses = []
    with headwater.watch(out=tmp_path / "run", **options) as run:
        for number in range(STEPS):
            loss = model(torch.randn(5, 3)).square().mean()
            losses.append(loss.item())
            update(model, loss, number)
    record = run.record
    steps = STEPS // passes
    assert record.pulse["backwards"].to_pylist() == [passes] * steps
    sums = [sum(losses[n : n + passes]) for n in range(0, STEPS, passes)]
    assert record.pulse["loss"].to_pylist() == pytest.approx(sums)
    assert record.sampled_steps == tuple(sampled(steps))
    sites = [record.sites[site] for site in record.site_rows["site"].to_pylist()]
    lines = {site.user_line for site in sites if site.kind != "parameter"}
    assert 0 not in lines, "its forward pass was not traced"
    for step in record.sampled_steps:
        assert len(record.ledger(step).names) == 4


def test_passes_before_the_first_step_of_an_optimiser_are_no_steps(tmp_path: Path) -> None:
    model = nn.Linear(3, 1)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    with headwater.watch(out=tmp_path / "run", every=1) as run:
        for number in range(12):
            model(torch.ones(2, 3)).sum().backward()
            if number % 4 == 3:
                optimiser.step()
                optimiser.zero_grad()
    assert run.record.pulse["backwards"].to_pylist() == [4, 4, 4]
    assert run.record.pulse["optimiser"].to_pylist() == [0, 0, 0]


def test_both_optimisers_of_an_adversarial_training_are_sampled_again_and_again(
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 3))
    critic = nn.Sequential(nn.Linear(3, 6), nn.LeakyReLU(0.2), nn.Linear(6, 1))
    makes = torch.optim.Adam(generator.parameters(), lr=1e-3)
    judges = torch.optim.SGD(critic.parameters(), lr=1e-3)
    losses: list[float] = []
    ones, zeros = torch.ones(8, 1), torch.zeros(8, 1)
    with headwater.watch(out=tmp_path / "run", overhead=0.2) as run:
        for _ in range(60):
            judges.zero_grad()
            fake = generator(torch.randn(8, 2))
            true = F.binary_cross_entropy_with_logits(critic(torch.randn(8, 3)), ones)
            false = F.binary_cross_entropy_with_logits(critic(fake.detach()), zeros)
            (true + false).backward()
            judges.step()
            makes.zero_grad()
            loss = F.binary_cross_entropy_with_logits(critic(fake), ones)
            loss.backward()
            makes.step()
            losses += [(true + false).item(), loss.item()]
    record = run.record
    names = [each.type for each in record.info.optimisers]
    assert names == ["SGD", "Adam"], "in the order of their steps"
    assert record.pulse["optimiser"].to_pylist() == [0, 1] * 60
    assert record.pulse["loss"].to_pylist() == pytest.approx(losses)
    sampled = [[step for step in record.sampled_steps if step % 2 == each] for each in (0, 1)]
    assert min(map(len, sampled)) >= 4
    assert abs(len(sampled[0]) - len(sampled[1])) <= 1
    for step in record.sampled_steps:
        rows = record.parameter_rows.to_pylist()
        held = {
            record.parameters[row["parameter"]].name.split(".")[0]
            for row in rows
            if row["step"] == step and row["applied_norm"] is not None
        }
        assert held == {"Sequential#2" if step % 2 else "Sequential"}, step
        # The judge's gradient does not reach the maker; the maker's passes through the judge.
        assert len(record.ledger(step).names) == (8 if step % 2 else 4)
        ledger = record.ledger(step)
        for name in ledger.names:
            assert ledger.measured(name) == pytest.approx(ledger.decades(name), abs=1e-5)


def test_a_subclass_that_steps_twice_over_is_one_step(tmp_path: Path) -> None:
    class Careful(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    torch.optim.SGD([nn.Parameter(torch.ones(1))])
    model = nn.Linear(3, 1)
    optimiser = Careful(model.parameters(), lr=0.1)
    with headwater.watch(out=tmp_path / "run", every=1) as run:
        for _ in range(3):
            optimiser.zero_grad()
            model(torch.ones(2, 3)).sum().backward()
            optimiser.step()
    assert run.record.pulse.num_rows == 3
    assert run.record.parameter_rows["relative_update"].null_count == 0
