"""Steps that pass by the lane: what is recorded of them, and what makes them leave it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import headwater
from headwater.watch import faults, lane
from headwater.watch.course import Course
from headwater.watch.delivery import Delivery

STEPS = 60
LANES = 0.0  # without a budget nothing is wanted of a step but its loss


class Training:
    """A small regression; ``odd`` is called at step 40 instead of the ordinary step."""

    def __init__(
        self, odd: Callable[[Training], None] | None = None, model: nn.Module | None = None
    ) -> None:
        torch.manual_seed(0)
        self.model = model or nn.Sequential(
            nn.Linear(3, 4), nn.Dropout(0.2), nn.Tanh(), nn.Linear(4, 1)
        )
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=0.01)
        self.odd = odd
        self.losses: list[float] = []

    def loss(self) -> Tensor:
        return self.model(torch.randn(5, 3)).square().mean()

    def backward(self) -> None:
        self.optimiser.zero_grad()
        loss = self.loss()
        loss.backward()
        self.losses.append(loss.item())

    def run(self) -> list[Tensor]:
        for number in range(STEPS):
            if number == 40 and self.odd is not None:
                self.odd(self)
            else:
                self.backward()
                self.optimiser.step()
        return [parameter.detach().clone() for parameter in self.model.parameters()]


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many steps passed by each lane."""
    counts: list[int] = []
    leave = Course.leave_lane

    def counted(self: Course, **how: bool) -> None:
        if self._lane is not None:
            counts.append(len(self._lane.ends))
        leave(self, **how)

    monkeypatch.setattr(Course, "leave_lane", counted)
    return counts


def observed(training: Training, folder: Path) -> headwater.Run:
    with headwater.watch(out=folder, overhead=LANES) as run:
        training.run()
    return run.record


def test_every_step_has_a_row_with_its_own_loss(tmp_path: Path, passed: list[int]) -> None:
    training = Training()
    run = observed(training, tmp_path / "run")
    assert sum(passed) > STEPS / 2
    assert run.pulse["step"].to_pylist() == list(range(STEPS))
    assert run.pulse["loss"].to_pylist() == training.losses
    assert run.pulse["backwards"].to_pylist() == [1] * STEPS
    assert run.pulse["optimiser"].to_pylist() == [0] * STEPS
    assert run.info.overhead["steps"] == STEPS
    times = run.pulse["time_s"].to_pylist()
    assert times == sorted(times)
    assert all(span > 0 for span in run.pulse["step_ms"].to_pylist()[1:])


def twice(training: Training) -> None:
    training.backward()
    loss = training.loss()
    loss.backward()
    training.losses[-1] += loss.item()
    training.optimiser.step()


def with_a_closure(training: Training) -> None:
    def closure() -> float:
        training.backward()
        return training.losses[-1]

    training.optimiser.step(closure)


def with_gradients_alone(training: Training) -> None:
    training.optimiser.zero_grad()
    loss = training.loss()
    gradients = torch.autograd.grad(loss, list(training.model.parameters()))
    for parameter, gradient in zip(training.model.parameters(), gradients, strict=True):
        parameter.grad = gradient
    training.losses.append(loss.item())
    training.optimiser.step()


def within_another(training: Training) -> None:
    training.optimiser.zero_grad()
    loss = training.loss()

    def inner(_gradient: Tensor) -> None:
        with torch.enable_grad():
            (torch.ones(1, requires_grad=True) * 2).sum().backward()

    loss.register_hook(inner)
    loss.backward()
    training.losses.append(loss.item())
    training.optimiser.step()


ODD: dict[str, Callable[[Training], None]] = {
    f.__name__: f for f in (twice, with_a_closure, with_gradients_alone, within_another)
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_out_of_the_ordinary_is_seen_as_it_is_without_a_lane(
    name: str, tmp_path: Path, passed: list[int]
) -> None:
    unobserved = Training(ODD[name]).run()
    training = Training(ODD[name])
    with headwater.watch(out=tmp_path / "run", overhead=LANES) as run:
        weights = training.run()
    assert passed
    assert all(map(torch.equal, weights, unobserved))
    whole = Training(ODD[name])
    with headwater.watch(out=tmp_path / "whole", every=1) as reference:
        whole.run()
    for column in ("step", "loss", "backwards", "optimiser"):
        assert run.record.pulse[column] == reference.record.pulse[column], column


def test_a_backward_pass_that_raises_leaves_the_record_whole(tmp_path: Path) -> None:
    def fails(training: Training) -> None:
        loss = training.loss()
        loss.register_hook(lambda gradient: torch.ones(3))
        with pytest.raises(RuntimeError):
            loss.backward()
        training.optimiser.zero_grad()
        training.backward()
        training.optimiser.step()

    run = observed(Training(fails), tmp_path / "run")
    assert run.info.observation["status"] == "complete"
    assert run.pulse["backwards"].to_pylist() == [1] * 40 + [2] + [1] * 19


def test_another_optimiser_and_another_thread_leave_the_lane(tmp_path: Path) -> None:
    def others(training: Training) -> None:
        other = Training()
        other.backward()
        other.optimiser.step()
        threads = [threading.Thread(target=Training().backward)]
        threads[0].start()
        threads[0].join()
        training.backward()
        training.optimiser.step()

    run = observed(Training(others), tmp_path / "run")
    assert run.pulse["optimiser"].to_pylist() == [0] * 40 + [1] + [0] * 20


def test_a_counter_of_operations_does_not_count_ours(tmp_path: Path) -> None:
    seen: list[Any] = []

    class Counter(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            seen.append(func)
            return func(*args, **(kwargs or {}))

    def counted(training: Training) -> None:
        with Counter(), FlopCounterMode(display=False):
            training.optimiser.zero_grad()
            training.loss().backward()
            training.optimiser.step()

    Training(counted).run()
    unobserved, seen[:] = list(seen), []
    observed(Training(counted), tmp_path / "run")
    assert seen == unobserved


def broken(*_: object, **__: object) -> None:
    raise RuntimeError("injected")


@pytest.mark.parametrize(
    ("owner", "name"),
    [(Delivery, "plain_steps"), (Course, "offer_lane"), (Course, "leave_lane")],
)
def test_a_fault_in_the_lane_costs_one_line(
    owner: type,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    unobserved = Training().run()
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, broken)
        with headwater.watch(out=tmp_path / "run", overhead=LANES) as run:
            weights = Training().run()
    assert all(map(torch.equal, weights, unobserved))
    assert run.record.info.observation["status"] == "stopped"
    assert capfd.readouterr().err.count("stopped observing (RuntimeError: injected)") == 1


def test_a_loss_that_cannot_be_read_is_left_to_the_whole_way(tmp_path: Path) -> None:
    def batched(training: Training) -> None:
        training.backward()
        training.optimiser.step()
        x = torch.ones(2, 3, requires_grad=True)
        torch.func.vmap(torch.func.grad(lambda row: (row * row).sum()))(x)

    run = observed(Training(batched), tmp_path / "run")
    assert run.info.observation["status"] == "complete"
    assert run.pulse["backwards"].to_pylist() == [1] * STEPS


def test_a_training_that_keeps_leaving_the_lane_is_offered_none(
    tmp_path: Path, passed: list[int]
) -> None:
    def accumulates(training: Training) -> None:
        for _ in range(20):
            twice(training)

    observed(Training(accumulates), tmp_path / "run")
    assert len(passed) <= 8


def test_asking_in_the_middle_shows_all_steps_so_far(tmp_path: Path) -> None:
    training, rows = Training(), []
    with headwater.watch(out=tmp_path / "run", overhead=LANES) as run:
        training.odd = lambda _: rows.append(run.record.pulse.num_rows)
        training.run()
    assert rows == [40]


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each pass by the lane, whether its gradient was bad; only where it was looked at."""
    seen: list[bool] = []
    look = lane.has_bad_gradient

    def noted(tensor: Tensor | None) -> bool:
        seen.append(look(tensor))
        return seen[-1]

    monkeypatch.setattr(lane, "has_bad_gradient", noted)
    monkeypatch.setattr(faults, "_TIGHT_S", 1.0)  # on a slow machine, too
    return seen


class Tame(Training):
    """Of which no gradient can be NaN under a finite loss."""

    def loss(self) -> Tensor:
        return nn.functional.mse_loss(self.model(torch.randn(5, 3)), torch.zeros(5, 1))


class Huge(Training):
    """Tame, but its loss is 2e38, and its gradient 3e19."""

    def loss(self) -> Tensor:
        return nn.functional.mse_loss(self.model(torch.randn(1, 3)), torch.full((1, 1), 1.5e19))


class Steep(Training):
    """With a square root, which has no derivative at zero."""

    def loss(self) -> Tensor:
        return (self.model(torch.randn(5, 3)).abs() + 1).sqrt().mean()


def test_gradients_are_looked_at_only_where_one_could_be_bad_under_a_finite_loss(
    tmp_path: Path, looks: list[bool], passed: list[int]
) -> None:
    observed(Tame(), tmp_path / "tame")
    assert sum(passed) > STEPS / 2
    assert looks == []
    passed.clear()
    observed(Steep(), tmp_path / "steep")
    assert looks == [False] * sum(passed)


def test_gradients_that_may_overflow_are_looked_at(
    tmp_path: Path, looks: list[bool], passed: list[int]
) -> None:
    observed(Huge(), tmp_path / "run")
    assert looks == [False] * sum(passed) != []


def test_a_gradient_that_was_not_looked_at_is_told_by_the_next_loss(
    tmp_path: Path, looks: list[bool], passed: list[int]
) -> None:
    def overflows(training: Training) -> None:
        training.optimiser.zero_grad()
        loss = training.loss()
        loss.register_hook(lambda gradient: gradient * torch.inf)
        loss.backward()
        training.losses.append(loss.item())
        training.optimiser.step()

    run = observed(Tame(overflows), tmp_path / "run")
    assert sum(passed) > STEPS / 2
    assert looks == []
    (fault,) = run.info.faults
    assert (fault.step, fault.seen_in) == (41, "loss")


class HeadFirst(nn.Module):
    """Names its last layer first, as some do; the size of an input of zeros has no derivative."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.body, self.first = nn.Linear(4, 1), nn.Linear(4, 4), nn.Linear(3, 4)

    def sizes(self, x: Tensor) -> Tensor:
        return self.first(x).square().sum(1, keepdim=True).sqrt().expand(-1, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.sizes(x)))


class Recomputed(HeadFirst):
    """Of which the first layer is in a backward pass of its own, within the other."""

    def forward(self, x: Tensor) -> Tensor:
        sizes = checkpoint(self.sizes, x.requires_grad_(), use_reentrant=True)
        return self.head(self.body(sizes))


@pytest.mark.parametrize("model", [HeadFirst, Recomputed])
def test_the_gradient_that_is_looked_at_is_the_last_that_a_pass_makes(
    model: type[HeadFirst], tmp_path: Path
) -> None:
    network = model()

    def vanishes(training: Training) -> None:
        with torch.no_grad():
            for parameter in network.first.parameters():
                parameter.zero_()
        training.backward()
        training.optimiser.step()

    run = observed(Training(vanishes, network), tmp_path / "run")
    (fault,) = run.info.faults
    assert (fault.step, fault.seen_in) == (40, "gradient")
    assert set(fault.parameters) == {"first.weight", "first.bias"}
