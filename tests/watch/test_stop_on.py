"""A training that breaks is ended in that very step where its user asked for it, and no other."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from outcomes import outcome
from programs import PROGRAMS, Program
from surroundings import differences, surroundings
from torch import Tensor, nn

import headwater
from headwater.errors import TrainingStoppedError, UsageError

torch.optim.SGD([nn.Parameter(torch.ones(1))])  # the first one changes its class


class Training:
    """Breaks at step 5 in the way that ``breaks`` says, and counts the optimiser's steps."""

    def __init__(self, breaks: Callable[[Tensor, Tensor], Tensor]) -> None:
        torch.manual_seed(3)
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 1)
        self.shift = nn.Parameter(torch.zeros(1))
        self.model = nn.ModuleList([self.first, self.last])
        self.optimiser = torch.optim.SGD([*self.model.parameters(), self.shift], lr=0.1)
        self.breaks = breaks
        self.done = 0

    def step(self, number: int) -> None:
        self.optimiser.zero_grad()
        loss = self.last(self.first(torch.ones(5, 4)).tanh()).square().mean()
        if number == 5:
            loss = self.breaks(loss, self.shift)
        loss.backward()
        self.optimiser.step()
        self.done += 1

    def train(self) -> None:
        for number in range(9):
            self.step(number)

    def weights(self) -> list[Tensor]:
        return [p.detach().clone() for p in [*self.model.parameters(), self.shift]]


def nan_loss(loss: Tensor, shift: Tensor) -> Tensor:
    return loss + (-1 - loss.detach()).log()


def gradient_that_no_layer_gets(loss: Tensor, shift: Tensor) -> Tensor:
    """Return a finite loss whose gradient is infinite in the last parameter alone."""
    return loss + shift.square().sum().sqrt()


CASES = [
    (nan_loss, "step 5: the loss is not finite"),
    (gradient_that_no_layer_gets, "step 5: the gradient of "),
]


@pytest.mark.parametrize(("breaks", "told"), CASES, ids=[c[0].__name__ for c in CASES])
def test_the_training_ends_before_its_optimiser_steps(
    breaks: Callable[[Tensor, Tensor], Tensor], told: str, tmp_path: Path
) -> None:
    plain = Training(breaks)
    for number in range(5):
        plain.step(number)
    training, before = Training(breaks), surroundings()
    run = headwater.watch(training.model, out=tmp_path / "run", stop_on="non-finite")
    with pytest.raises(TrainingStoppedError) as caught, run:
        training.train()
    assert differences(before, surroundings()) == {}
    assert training.done == 5
    assert all(map(torch.equal, training.weights(), plain.weights()))
    text = str(caught.value)
    assert text.startswith(f"training ended at {told}")
    assert text.endswith(f"; `headwater show {tmp_path / 'run'}` has the record")

    info = run.record.info
    assert info.observation["status"] == "complete"
    assert info.observation["notes"] == [
        f"the training was ended on request at {text[18:].rpartition(';')[0]}"
    ]
    assert run.record.pulse["step"].to_pylist() == list(range(6))
    assert [finding.code for finding in run.findings] == ["HW301"]
    assert info.sampling["stop_on"] == "non-finite"


SICK = {"losses_of_every_form", "a_gradient_scaler_that_skips_steps", "anomaly_mode_of_the_user_s"}
HEALTHY = [program for program in PROGRAMS if program.__name__ not in SICK]


@pytest.mark.parametrize("program", HEALTHY, ids=lambda program: program.__name__)
def test_a_healthy_training_is_neither_ended_nor_changed(
    program: Program, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = headwater.watch(out=tmp_path / "run", stop_on="non-finite", keep_state=True)
    # Twice without: the first time torch says and does what it does but once in a process.
    blocks = (nullcontext(), nullcontext(), run)
    _, plain, observed = (outcome(program, block, capfd) for block in blocks)
    assert [key for key in {**plain, **observed} if plain.get(key) != observed.get(key)] == []
    assert run.record.info.observation["status"] == "complete"
    assert not (tmp_path / "run" / "state").exists()


@pytest.mark.parametrize("program", [p for p in PROGRAMS if p.__name__ in SICK])
def test_to_keep_the_state_of_a_sick_training_changes_nothing(
    program: Program, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = headwater.watch(out=tmp_path / "run", keep_state=True)
    blocks = (nullcontext(), nullcontext(), run)
    _, plain, observed = (outcome(program, block, capfd) for block in blocks)
    assert [key for key in {**plain, **observed} if plain.get(key) != observed.get(key)] == []
    assert run.record.info.observation["status"] == "complete"
    assert (tmp_path / "run" / "state").exists() is bool(run.record.info.faults)


def test_a_training_that_catches_its_end_goes_on_after_three_times(tmp_path: Path) -> None:
    training = Training(nan_loss)
    ends: list[int] = []
    run = headwater.watch(training.model, out=tmp_path / "run", stop_on="non-finite")
    with run:
        for number in range(12):
            try:
                training.step(number)
            except TrainingStoppedError:
                ends.append(number)
    assert ends == [5, 6, 7]
    asked, gave_up = run.record.info.observation["notes"]
    assert asked.startswith("the training was ended on request at step 5: the loss is not finite")
    assert gave_up == "the training caught what was to end it, and went on"
    assert run.record.info.observation["status"] == "complete"


def test_the_second_pass_of_a_step_ends_it_too(tmp_path: Path) -> None:
    one, other = nn.Linear(3, 1), nn.Linear(3, 1)
    optimisers = [torch.optim.SGD(model.parameters(), lr=0.1) for model in (one, other)]
    before = [p.detach().clone() for p in other.parameters()]

    def train() -> None:
        one(torch.ones(2, 3)).mean().backward()
        optimisers[0].step()
        (other(torch.ones(2, 3)) * 0).sqrt().mean().backward()
        optimisers[1].step()

    run = headwater.watch(out=tmp_path / "run", stop_on="non-finite")
    with pytest.raises(TrainingStoppedError, match="the gradients of "), run:
        train()
    assert all(map(torch.equal, before, other.parameters()))


def scaled(scale: float, steps: int, loss_of: Callable[[Tensor], Tensor]) -> int:
    """Train under a gradient scaler; return how many steps it did not skip."""
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    taken = 0
    for _ in range(steps):
        optimiser.zero_grad()
        scaler.scale(loss_of(model(torch.ones(3, 4)))).backward()
        scaler.step(optimiser)
        before = scaler.get_scale()
        scaler.update()
        taken += scaler.get_scale() >= before
    return taken


def test_a_gradient_scaler_s_search_for_its_scale_does_not_end_a_training(tmp_path: Path) -> None:
    with headwater.watch(out=tmp_path / "run", stop_on="non-finite") as run:
        taken = scaled(2.0**120, 12, lambda y: (1e4 * y).sin().mean())
    assert 0 < taken < 12, "proves nothing"
    assert run.record.info.faults == ()


def test_a_gradient_scaler_that_never_finds_a_scale_ends_it(tmp_path: Path) -> None:
    run = headwater.watch(out=tmp_path / "run", stop_on="non-finite")
    told = "step 10: the gradients of bias and 1 more are not finite, by sqrt at test_stop_on.py"
    with pytest.raises(TrainingStoppedError, match=told), run:
        scaled(16.0, 30, lambda y: (y * 0).abs().sqrt().sum())


def test_an_exception_of_the_script_s_own_goes_first(tmp_path: Path) -> None:
    def train() -> None:
        weight = torch.zeros(2, requires_grad=True)
        weight.register_hook(lambda gradient: 1 / 0)
        weight.sqrt().sum().backward()

    run = headwater.watch(out=tmp_path / "run", stop_on="non-finite")
    with pytest.raises(ZeroDivisionError), run:
        train()


def test_every_pass_is_looked_at(tmp_path: Path) -> None:
    training = Training(lambda loss, shift: loss)
    with headwater.watch(
        training.model, out=tmp_path / "run", overhead=0, stop_on="non-finite"
    ) as run:
        for number in range(40):
            training.step(number)
    norms = run.record.pulse["total_norm"].to_pylist()
    assert len(norms) == 40
    assert all(norm is not None and math.isfinite(norm) for norm in norms)


@pytest.mark.parametrize("value", ["nan", "", True])
def test_a_wrong_word_is_answered_with_the_right_one(value: Any) -> None:
    with pytest.raises(UsageError) as caught:
        headwater.watch(stop_on=value)
    assert str(caught.value) == f"stop_on got {value!r}; it takes 'non-finite', or None"
