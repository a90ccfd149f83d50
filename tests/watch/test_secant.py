"""The slopes along an update, against closed forms and plain recomputation."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from parameter_rows import near
from torch import Tensor, nn

import headwater
from headwater.watch.parameters import Update
from headwater.watch.secant import Secants
from headwater.watch.steps import Step

CURVATURES = torch.tensor([1.0, 2.0, 5.0])


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def bowl(weight: Tensor) -> Tensor:
    return 0.5 * (CURVATURES * weight * weight).sum()


class Slid:
    """A descent into a bowl, and the pulse that it left."""

    def __init__(self, folder: Path, rate: float = 0.1, **options: Any) -> None:
        self.layer = nn.Linear(3, 1, bias=False)
        self.optimiser = torch.optim.SGD(self.layer.parameters(), lr=rate)
        self.folder, self.options = folder, options
        self.weights: list[Tensor] = []

    def slide(self, step: Callable[[Slid], None], steps: int = 4) -> list[dict[str, Any]]:
        with headwater.watch(out=self.folder, **{"every": 1, **self.options}) as run:
            for _ in range(steps):
                self.weights.append(self.layer.weight.detach().clone())
                self.optimiser.zero_grad()
                step(self)
            self.weights.append(self.layer.weight.detach().clone())
        rows: list[dict[str, Any]] = run.record.pulse.to_pylist()
        return rows

    def expected(self, step: int) -> tuple[float, float, float]:
        """Return update norm, slope and slope after, of what a step did."""
        before, after = self.weights[step], self.weights[step + 1]
        moved = after - before
        return (
            float(moved.norm()),
            float((CURVATURES * before * moved).sum()),
            float((CURVATURES * after * moved).sum()),
        )


def plainly(one: Slid) -> None:
    bowl(one.layer.weight).backward()
    one.optimiser.step()


def clipped(one: Slid) -> None:
    bowl(one.layer.weight).backward()
    nn.utils.clip_grad_norm_(one.layer.parameters(), 0.01)
    one.optimiser.step()


def scaled(one: Slid) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(bowl(one.layer.weight)).backward()
    scaler.step(one.optimiser)
    scaler.update()


def accumulated(one: Slid) -> None:
    for _ in range(2):
        (bowl(one.layer.weight) / 2).backward()
    one.optimiser.step()


@pytest.mark.parametrize("step", [plainly, clipped, scaled, accumulated])
def test_slopes_are_those_of_the_gradient_that_backward_made(
    step: Callable[[Slid], None], tmp_path: Path
) -> None:
    one = Slid(tmp_path / "run")
    rows = one.slide(step)
    for number in range(1, 3):
        moved, slope, after = one.expected(number)
        assert rows[number]["update_norm"] == near(moved)
        assert rows[number]["slope"] == near(slope)
        assert rows[number + 1]["slope_after"] == near(after)
    assert rows[0]["slope_after"] is None


def test_where_one_curvature_is_left_the_secant_is_exactly_it(tmp_path: Path) -> None:
    one = Slid(tmp_path / "run", rate=0.5)
    with torch.no_grad():
        one.layer.weight.copy_(torch.tensor([[0.0, 0.0, 1e-3]]))
    rows = one.slide(plainly)
    for now, then in pairwise(rows):
        curvature = (then["slope_after"] - now["slope"]) / now["update_norm"] ** 2
        assert curvature == pytest.approx(5.0, rel=1e-5)
        assert 0.5 * curvature > 2  # and so it diverges
        assert abs(then["loss"]) > abs(now["loss"])


def test_a_slope_is_taken_where_the_step_was_sampled_and_after_it_once(tmp_path: Path) -> None:
    rows = Slid(tmp_path / "run", every=None, steps=(2, 3)).slide(plainly, 8)
    assert [row["slope"] is not None for row in rows] == [number == 2 for number in range(8)]
    assert [row["slope_after"] is not None for row in rows] == [n == 3 for n in range(8)]


def test_two_optimisers_each_meet_the_gradient_of_their_own(tmp_path: Path) -> None:
    first, second = (nn.Linear(3, 1, bias=False) for _ in range(2))
    optimisers = [torch.optim.SGD(one.parameters(), lr=0.1) for one in (first, second)]
    seen = []
    with headwater.watch(out=tmp_path / "run", every=1) as run:
        for _ in range(3):
            for one, optimiser in zip((first, second), optimisers, strict=True):
                optimiser.zero_grad()
                bowl(one.weight).backward()
                before = one.weight.detach().clone()
                optimiser.step()
                seen.append((before, one.weight.detach().clone()))
    rows = run.record.pulse.to_pylist()
    for number in range(4):
        before, after = seen[number]
        assert rows[number]["slope"] == near(float((CURVATURES * before * (after - before)).sum()))
        assert rows[number + 2]["slope_after"] == near(
            float((CURVATURES * after * (after - before)).sum())
        )


def test_of_large_tensors_a_part_stands_for_the_whole(tmp_path: Path) -> None:
    layer = nn.Linear(600, 600, bias=False)
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.1)
    with headwater.watch(out=tmp_path / "run", every=1) as run:
        for _ in range(2):
            optimiser.zero_grad()
            layer.weight.square().sum().mul(0.5).backward()
            gradient = layer.weight.grad
            assert gradient is not None
            size = float(gradient.norm())
            optimiser.step()
    row = run.record.pulse.to_pylist()[1]
    assert row["update_norm"] == pytest.approx(0.1 * size, rel=0.01)
    assert row["slope"] == pytest.approx(-0.1 * size**2, rel=0.01)


def test_parameters_without_a_gradient_and_sparse_ones_leave_the_rest_to_be_told(
    tmp_path: Path,
) -> None:
    layer, words = nn.Linear(3, 1, bias=False), nn.Embedding(4, 3, sparse=True)
    unused = nn.Linear(2, 2)
    parameters = [*layer.parameters(), *words.parameters(), *unused.parameters()]
    optimiser = torch.optim.SGD(parameters, lr=0.1)
    with headwater.watch(out=tmp_path / "run", every=1) as run:
        for _ in range(3):
            optimiser.zero_grad()
            (bowl(layer.weight) + words(torch.tensor([1])).square().sum()).backward()
            optimiser.step()
    rows = run.record.pulse.to_pylist()
    assert all(row["slope"] < 0 for row in rows)


def test_an_optimiser_that_steps_no_more_is_not_waited_for() -> None:
    layer, secants = nn.Linear(2, 1), Secants()
    sampled = Step(5, sampled=True, pulsed=True)
    update = Update(change=torch.ones(1, 2))
    secants.leave(0, {0: layer.weight}, sampled, {0: update})
    assert secants.waits(6)
    assert not secants.waits(14)
    assert not secants.waits(6)
