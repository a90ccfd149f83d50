"""A fault of ours costs the training nothing: one line, a record that says why, and its result."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from surroundings import differences, frames_of_ours, surroundings
from torch import nn

import headwater
from headwater.watch import (
    activations,
    cadence,
    course,
    delivery,
    door,
    identity,
    names,
    observation,
    outputs,
    parameters,
    recorder,
    samples,
    secant,
    shapes,
    sites,
    stacks,
    steps,
    tap,
)

torch.optim.SGD([nn.Parameter(torch.ones(1))])  # the first one changes its class


class Training:
    """Twelve steps with dropout, and all that they leave to the last bit."""

    def __init__(self) -> None:
        torch.manual_seed(7)
        self.model = nn.Sequential(
            nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 1)
        )
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.losses: list[float] = []
        self.interrupts = 0

    def step(self) -> None:
        self.optimiser.zero_grad()
        loss = nn.functional.mse_loss(self.model(torch.randn(5, 6)), torch.zeros(5, 1))
        loss.backward()
        self.optimiser.step()
        self.losses.append(loss.item())

    def train(self) -> Training:
        for _ in range(12):
            self.step()
        return self

    def left(self) -> dict[str, Any]:
        momenta = [state["momentum_buffer"] for state in self.optimiser.state.values()]
        tensors = [*self.model.state_dict().values(), *momenta, torch.get_rng_state()]
        return {"losses": self.losses, "bits": [tensor.numpy().tobytes() for tensor in tensors]}


def raising(original: Callable[..., Any], after: int, error: BaseException) -> Callable[..., Any]:
    """Return a function that works ``after`` times, then raises."""
    calls = [0]

    def function(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] > after:
            raise error
        return original(*args, **kwargs)

    return function


HEARD: list[tuple[Any, str]] = [
    (samples, "walk"),
    (shapes, "make_plan"),
    (samples, "find_expressions"),
    (samples, "activation_output"),
    (samples, "output_columns"),
    (outputs, "count_exponents"),
    (parameters, "count_exponents"),
    (parameters, "unpack"),
    (samples, "_root_edges"),
    (samples, "settle"),
    (samples.Sampler, "_note_unseen"),
    (samples.GraphSample, "columns"),
    (tap.Tap, "attach"),
    (tap.Tap, "_measure"),
    (tap, "norm"),
    (activations.Activations, "read"),
    (steps, "read_raw"),
    (steps, "norms"),
    (steps.Losses, "note"),
    (course, "read_before"),
    (course, "read_applied"),
    (course, "read_after"),
    (secant.Secants, "arrive"),
    (secant.Secants, "leave"),
    (samples, "read_targets"),
    (course, "describe_optimiser"),
    (delivery, "Fetched"),
    (delivery.Delivery, "pulse"),
    (delivery.Delivery, "pass_on"),
    (stacks.Stacks, "_look"),
    (stacks.Stacks, "place_of"),
    (names.Names, "add_root"),
    (names.Names, "add_parameter"),
    (names.Names, "index_of_leaf"),
    (names.Names, "parameter_infos"),
    (names.Names, "path_of"),
    (sites.SiteTable, "number"),
    (sites.SiteTable, "render"),
    (cadence.Cadence, "wants_sample"),
    (cadence.Cadence, "wants_pulse"),
    (cadence.Cadence, "sampled"),
    (identity.Identity, "info"),
    (identity.Identity, "seen_steps"),
    (identity.Identity, "ask_revision"),
    (observation.RunWriter, "append"),
    (recorder.Recorder, "pulses"),
    (recorder.Recorder, "start"),
]
"""Where something of ours may break while the training runs, or at its end."""


CALLED_ONCE = {"make_plan", "find_expressions", "describe_optimiser", "ask_revision", "start"}
FAULTS = [
    pytest.param(owner, name, after, id=f"{owner.__name__}.{name} after {after}")
    for owner, name in HEARD
    for after in (0, 2)
    if not (after and name in CALLED_ONCE)
]


@pytest.mark.parametrize(("owner", "name", "after"), FAULTS)
def test_a_fault_of_ours_costs_one_line_and_the_rest_of_the_record(
    owner: Any,
    name: str,
    after: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    plain = Training().train().left()
    training, before = Training(), surroundings()
    error = RuntimeError("injected\n  over two lines")
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, raising(getattr(owner, name), after, error))
        with headwater.watch(training.model, out=tmp_path / "run", every=1):
            training.train()
    assert training.left() == plain
    assert differences(before, surroundings()) == {}
    assert frames_of_ours(training.step) == []

    stderr = capfd.readouterr().err
    record = headwater.Run.open(tmp_path / "run")
    assert stderr == (
        "headwater: stopped observing (RuntimeError: injected over two lines); "
        "the training goes on\n"
    )
    assert record.info.observation["status"] == "stopped"
    assert record.info.observation["reason"] == "RuntimeError: injected over two lines"
    assert record.info.ended is not None
    assert record.info.command
    assert record.truncated == ()
    assert record.pulse.num_rows == len(record.pulse["loss"].to_pylist())


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (recorder.Recorder, "stop"),
        (delivery.Delivery, "finish"),
        (course.Course, "end_open_step"),
        (identity.Identity, "info"),
    ],
)
def test_a_fault_at_the_very_end_is_said_too(
    owner: Any,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    training, before = Training(), surroundings()
    run = headwater.watch(training.model, out=tmp_path / "run", every=1)
    run.__enter__()
    training.train()
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, raising(getattr(owner, name), 0, RuntimeError("injected")))
        run.__exit__(None, None, None)
    assert differences(before, surroundings()) == {}
    assert frames_of_ours(training.step) == []
    assert len(capfd.readouterr().err.splitlines()) == 1
    assert run.record.info.observation["reason"] == "RuntimeError: injected"
    assert run.record.info.ended is not None


def test_where_run_json_cannot_be_written_the_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    plain = Training().train().left()
    training = Training()
    error = OSError(28, "No space left on device")
    write = observation.RunWriter.write_info
    with monkeypatch.context() as patch:
        patch.setattr(observation.RunWriter, "write_info", raising(write, 1, error))
        with headwater.watch(training.model, out=tmp_path / "run", every=1):
            training.train()
    assert training.left() == plain
    assert capfd.readouterr().err == (
        "headwater: stopped observing (OSError: [Errno 28] No space left on device); "
        "the training goes on\n"
    )
    assert headwater.Run.open(tmp_path / "run").info.observation["status"] == "stopped"


def test_a_fault_within_an_optimiser_that_steps_in_backward_leaves_no_hook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def train(training: Training) -> None:
        optimisers = {
            parameter: torch.optim.SGD([parameter], lr=0.1)
            for parameter in training.model.parameters()
        }

        def step(parameter: torch.Tensor) -> None:
            optimisers[parameter].step()  # type: ignore[index]
            parameter.grad = None

        for parameter in optimisers:
            parameter.register_post_accumulate_grad_hook(step)
        for _ in range(4):
            training.model(torch.randn(5, 6)).sum().backward()

    plain, training = Training(), Training()
    train(plain)
    training, before = Training(), surroundings()
    ends = raising(course.Course.step_ends, 5, RuntimeError("injected"))
    with monkeypatch.context() as patch:
        patch.setattr(course.Course, "step_ends", ends)
        with headwater.watch(training.model, out=tmp_path / "run", every=1):
            train(training)
    assert training.left() == plain.left()
    assert differences(before, surroundings()) == {}
    assert frames_of_ours(training.step) == []
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_a_run_folder_that_is_deleted_while_training_costs_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plain = Training().train().left()
    training, before = Training(), surroundings()
    with headwater.watch(training.model, out=tmp_path / "run", every=1):
        shutil.rmtree(tmp_path / "run")
        training.train()
    assert training.left() == plain
    assert differences(before, surroundings()) == {}
    (line,) = capfd.readouterr().err.splitlines()
    assert "FileNotFoundError" in line
    assert not (tmp_path / "run").exists()


def test_a_stderr_that_is_gone_does_not_make_it_worse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone:
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

        flush = write

    plain = Training().train().left()
    training = Training()
    for stream in (None, Gone()):
        with monkeypatch.context() as patch:
            patch.setattr("sys.stderr", stream)
            patch.setattr(samples, "walk", raising(samples.walk, 0, RuntimeError("injected")))
            training = Training()
            with headwater.watch(out=tmp_path / f"{stream is None}", every=1):
                training.train()
        assert training.left() == plain


INTERRUPTED: list[tuple[Any, str]] = [
    (samples, "walk"),
    (samples.Sampler, "_note_unseen"),
    (tap.Tap, "_measure"),
    (activations.Activations, "read"),
    (steps, "read_raw"),
    (parameters, "count_exponents"),
    (samples, "activation_output"),
    (course, "read_before"),
    (course, "read_after"),
    (secant.Secants, "arrive"),
    (secant.Secants, "leave"),
    (samples, "read_targets"),
    (stacks.Stacks, "_look"),
    (cadence.Cadence, "wants_sample"),
    (door, "out_of_reach"),
]


@pytest.mark.parametrize(
    ("owner", "name"), INTERRUPTED, ids=[f"{o.__name__}.{n}" for o, n in INTERRUPTED]
)
def test_an_interrupt_in_the_middle_of_our_work_is_the_user_s(
    owner: Any,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    training, before = Training(), surroundings()

    def train() -> None:
        with headwater.watch(training.model, out=tmp_path / "run", every=1) as run:
            runs.append(run)
            training.step()
            with monkeypatch.context() as patch:
                once = raising(getattr(owner, name), 1, KeyboardInterrupt())
                patch.setattr(owner, name, once)
                with pytest.raises(KeyboardInterrupt):
                    training.train()
            for _ in range(3):
                training.step()

    runs: list[headwater.watch] = []
    train()
    assert differences(before, surroundings()) == {}
    assert frames_of_ours(training.step) == []
    assert capfd.readouterr().err == ""
    record = runs[0].record
    assert record.info.observation["status"] == "complete"
    ledger = record.ledger(record.sampled_steps[-1])
    assert ledger.measured("0.weight") == pytest.approx(ledger.decades("0.weight"), abs=1e-5)
    last = record.site_rows.filter(record.site_rows["step"].to_numpy() == record.sampled_steps[-1])
    assert all(record.sites[site].user_line for site in last["site"].to_pylist())
