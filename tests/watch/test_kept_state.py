"""The state of a step that broke: kept whole, read back without running code, and broken again."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from programs import bits, leaves
from torch import Tensor, nn
from torch.nn import functional as F

import headwater
from headwater.errors import (
    MissingExtraError,
    NotRecordedError,
    TrainingStoppedError,
    UnreadableRunError,
)
from headwater.watch import options
from headwater.watch.kept import KeptState, load_state
from headwater.watch.packing import Packing, Unpackable, unpack

BREAKS_AT = 6


def build(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.4), nn.GELU(), nn.Linear(8, 3)
    )


def log_of_a_negative(out: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(out, target) + (out.mean() - 100).log()


def root_at_zero(out: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(out, target) + (out - out.detach()).square().sum(1).sqrt().mean()


Loss = Callable[[Tensor, Tensor], Tensor]


class Trained:
    """A training that breaks at a known step; keeps what it saw there."""

    def __init__(self, breaks: Loss) -> None:
        self.breaks = breaks
        self.model = build(0)
        self.loss = torch.zeros(())
        self.out = torch.zeros(())
        self.batches = [(torch.randn(5, 4), torch.randint(3, (5,))) for _ in range(9)]

    def train(self) -> None:
        optimiser = torch.optim.SGD(self.model.parameters(), lr=0.1)
        for number, (x, target) in enumerate(self.batches):
            optimiser.zero_grad()
            out = self.model(x)
            loss_of = self.breaks if number == BREAKS_AT else F.cross_entropy
            loss = loss_of(out, target)
            self.out, self.loss = out.detach(), loss.detach()
            loss.backward()
            optimiser.step()

    def stopped(self, folder: Path) -> KeptState:
        run = headwater.watch(out=folder, stop_on="non-finite", keep_state=True)
        with pytest.raises(TrainingStoppedError), run:
            self.train()
        return load_state(run.record)


@pytest.mark.parametrize("breaks", [log_of_a_negative, root_at_zero])
def test_a_kept_state_breaks_again_to_the_last_bit(breaks: Loss, tmp_path: Path) -> None:
    trained = Trained(breaks)
    state = trained.stopped(tmp_path / "run")
    assert (state.step, state.random_at, state.note) == (BREAKS_AT, "begin", "")

    model = build(1)
    assert not torch.equal(model[0].weight, trained.model[0].weight), "proves nothing"
    state.restore(model)
    state.restore_random()
    out = model(state.batch["x"])
    loss = breaks(out, state.batch["target"])
    loss.backward()
    assert bits(out.detach()) == bits(trained.out), "the same dropout, batch and weights"
    assert bits(loss.detach()) == bits(trained.loss)
    again = [parameter.grad for parameter in model.parameters()]
    if breaks is root_at_zero:  # the other was ended before its backward pass
        assert any(not gradient.isfinite().all() for gradient in again if gradient is not None)
        before = [parameter.grad for parameter in trained.model.parameters()]
        assert list(map(bits, again)) == list(map(bits, before))
    else:
        assert not loss.isfinite()


def test_a_kept_state_says_what_ran(tmp_path: Path) -> None:
    state = Trained(log_of_a_negative).stopped(tmp_path / "run")
    assert state.why.startswith(f"step {BREAKS_AT}: the loss is not finite")
    lines = Path(__file__).read_text().splitlines()
    assert [text for _, _, text in state.statements] == [
        "out = self.model(x)",
        "loss = loss_of(out, target)",
        "loss.backward()",
    ]
    assert sorted(state.batch) == ["target", "x"]
    assert state.left_out == {
        "loss_of": "a function is no data",
        "self": "a Trained is no data",
    }
    assert all(file == __file__ for file, _, _ in state.statements)
    assert all(lines[line - 1].strip() == text for _, line, text in state.statements)
    assert sorted(state.weights) == sorted(name for name, _ in build(0).named_parameters())
    assert sorted(state.buffers) == sorted(name for name, _ in build(0).named_buffers())


class Owner:
    """A trainer as people write them: the batch is an attribute, the loss made in a method."""

    def __init__(self) -> None:
        self.model = nn.Linear(2, 1)
        self.batch = {"inputs": torch.ones(3, 2), "labels": torch.zeros(3, 1), "names": ["a", "b"]}
        self.power = 0.5

    def step(self) -> None:
        out = self.model(self.batch["inputs"])
        loss = ((out - self.batch["labels"]) * 0).pow(self.power).sum()
        loss.backward()


def test_what_a_trainer_has_as_attributes_is_kept_too(tmp_path: Path) -> None:
    owner = Owner()
    with headwater.watch(out=tmp_path / "run", keep_state=True) as run:
        owner.step()
    state = load_state(run.folder)
    assert state.batch["self.power"] == 0.5
    kept = state.batch["self.batch"]
    assert kept["names"] == ["a", "b"]
    assert torch.equal(kept["inputs"], owner.batch["inputs"])  # type: ignore[arg-type]
    assert "self" in state.left_out


def test_where_the_batch_was_replaced_the_state_says_so(tmp_path: Path) -> None:
    model, kept = nn.Linear(3, 3), torch.randn(2, 3)

    def train(x: Tensor, labels: Tensor) -> None:
        x = model(x)
        ((x - labels).sum() * 0).log().backward()

    def call() -> None:
        train(torch.randn(2, 3), kept + 1)

    with headwater.watch(out=tmp_path / "run", keep_state=True) as run:
        call()
    state = load_state(run.folder)
    assert state.note == "x was given a new value in the step"
    assert [text for _, _, text in state.statements] == ["train(torch.randn(2, 3), kept + 1)"]
    assert torch.equal(state.batch["labels"], kept + 1)
    assert torch.equal(state.batch["kept"], kept)
    assert "x" not in state.batch


def test_of_two_networks_each_is_restored_by_its_prefix(tmp_path: Path) -> None:
    one, other = nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 1))
    with headwater.watch(out=tmp_path / "run", keep_state=True) as run:
        (other(one(torch.ones(2, 2))) * 0).log().sum().backward()
    state = load_state(run.folder)
    assert sorted(state.weights) == [
        "Linear.bias", "Linear.weight", "Sequential.0.bias", "Sequential.0.weight",
    ]  # fmt: skip
    copied = nn.Sequential(nn.Linear(3, 1))
    state.restore(copied, prefix="Sequential")
    assert torch.equal(copied[0].weight, other[0].weight)
    with pytest.raises(NotRecordedError, match=r"no tensor 'weight'; it has Linear\.bias, "):
        state.restore(one)
    with pytest.raises(NotRecordedError, match=r"of shape \[4, 2\]; it has one of \[3, 2\]"):
        state.restore(nn.Linear(2, 4), prefix="Linear")


def test_only_the_first_fault_is_kept_and_the_training_goes_on(tmp_path: Path) -> None:
    model = nn.Linear(2, 1)
    steps = []
    with headwater.watch(out=tmp_path / "run", keep_state=True) as run:
        for step in range(5):
            loss = (model(torch.ones(1, 2)) * 0).sum()
            loss = loss.log() if step >= 2 else loss
            loss.backward()
            model.zero_grad()
            steps.append(step)
    assert steps == list(range(5))
    assert load_state(run.folder).step == 2


def test_a_healthy_run_has_kept_nothing(tmp_path: Path) -> None:
    with headwater.watch(out=tmp_path / "run", keep_state=True) as run:
        nn.Linear(2, 1)(torch.ones(1, 2)).sum().backward()
    with pytest.raises(NotRecordedError) as caught:
        load_state(run.folder)
    assert str(caught.value) == (
        "the record holds no state; `headwater run --keep-state` keeps it where a step breaks"
    )


VALUES: dict[str, Any] = {
    "tensor": torch.randn(3, 2),
    "half": torch.tensor([float("nan"), float("inf"), 1e-7], dtype=torch.float16),
    "brain": torch.randn(4).bfloat16(),
    "small": torch.randn(4).to(torch.float8_e4m3fn),
    "complex": torch.randn(3, dtype=torch.complex64).conj(),
    "flags": torch.tensor([True, False]),
    "empty": torch.zeros(0, 3),
    "number": torch.tensor(4),
    "transposed": torch.randn(3, 4).t(),
    "leaf": torch.randn(2).requires_grad_(),
    "array": np.arange(6.0).reshape(2, 3),
    "scalar": np.float32(0.1),
    "plain": [1, True, None, "é", 0.1, float("nan"), float("-inf"), 2**70],
    "nested": {"a": (torch.ones(1), [torch.zeros(2)]), "b": {}},
}


def test_every_kind_of_data_comes_back_as_it_was(tmp_path: Path) -> None:
    packing = Packing()
    data = json.loads(json.dumps(packing.pack(VALUES, "batch")))
    safetensors.torch.save_file(packing.tensors, tmp_path / "f")
    back = unpack(data, safetensors.torch.load_file(tmp_path / "f"))
    before = dict(leaves(VALUES))
    after = dict(leaves(back))
    assert before.keys() == after.keys()
    for path, value in before.items():
        if isinstance(value, Tensor):
            assert after[path].dtype == value.dtype
            assert after[path].shape == value.shape
            assert after[path].requires_grad == value.requires_grad
            wanted = value.detach().resolve_conj().contiguous()
            assert bits(after[path].detach().contiguous()) == bits(wanted), path
        elif isinstance(value, np.ndarray):
            assert np.array_equal(after[path], value)
        elif isinstance(value, np.generic):
            assert after[path] == value.item()
        else:
            assert repr(after[path]) == repr(value)
    assert isinstance(back["nested"]["a"], tuple)


def test_views_of_one_memory_are_kept_apart(tmp_path: Path) -> None:
    whole = torch.arange(12.0)
    packing = Packing()
    data = packing.pack([whole, whole[2:5], whole[3:9].view(2, 3)], "batch")
    safetensors.torch.save_file(packing.tensors, tmp_path / "f")
    back = unpack(data, safetensors.torch.load_file(tmp_path / "f"))
    assert [each.tolist() for each in back] == [
        whole.tolist(), [2.0, 3.0, 4.0], [[3.0, 4.0, 5.0], [6.0, 7.0, 8.0]]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (object(), "a object is no data"),
        ({1: 2}, "a dict is no data"),
        (torch.eye(2).to_sparse(), "a tensor of layout torch.sparse_coo on cpu is not kept"),
        (torch.ones(2, device="meta"), "a tensor of layout torch.strided on meta is not kept"),
        (np.array(["a"]), "an array of <U1 is not kept"),
    ],
)
def test_what_is_no_data_is_refused_with_the_reason(value: Any, why: str) -> None:
    with pytest.raises(Unpackable) as caught:
        Packing().pack([value], "batch")
    assert str(caught.value) == why


def test_what_cannot_be_kept_is_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    model = nn.Linear(2, 1)
    x, graph = torch.ones(3, 2), torch.eye(3).to_sparse()

    def train() -> None:
        ((graph @ model(x)) * 0).log().sum().backward()

    with headwater.watch(out=tmp_path / "run", keep_state=True) as run:
        train()
    state = load_state(run.folder)
    assert torch.equal(state.batch["x"], x)
    assert state.left_out["graph"] == "a tensor of layout torch.sparse_coo on cpu is not kept"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("full")])
def test_a_full_disk_costs_a_line_and_the_state_but_not_the_training(
    error: Exception,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def full(*_: Any) -> None:
        raise error

    model = nn.Linear(2, 1)
    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with headwater.watch(out=tmp_path / "run", keep_state=True) as run:
        for _ in range(3):
            (model(torch.ones(1, 2)) * 0).log().sum().backward()
    why = "No space left on device" if isinstance(error, OSError) else "full"
    assert capfd.readouterr().err == f"headwater: the state could not be kept ({why})\n"
    info = run.record.info
    assert info.observation["status"] == "complete"
    assert info.observation["notes"] == [f"the state of step 0 could not be kept ({why})"]
    assert run.record.pulse["backwards"].to_pylist() == [3]
    assert not (run.folder / "state").exists()


def test_without_safetensors_keeping_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError) as caught:
        headwater.watch(keep_state=True)
    assert str(caught.value) == "keep_state needs safetensors; pip install 'headwater[state]'"


def test_without_safetensors_a_kept_state_names_what_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Trained(log_of_a_negative).stopped(tmp_path / "run")
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(MissingExtraError) as caught:
        load_state(tmp_path / "run")
    assert str(caught.value) == "a kept state needs safetensors; pip install 'headwater[state]'"


def test_a_damaged_state_is_told_as_such(tmp_path: Path) -> None:
    Trained(log_of_a_negative).stopped(tmp_path / "run")
    file = tmp_path / "run" / "state" / "tensors.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UnreadableRunError, match="its state is damaged: SafetensorError: "):
        load_state(tmp_path / "run")


def test_whoever_may_read_the_record_may_read_the_state(tmp_path: Path) -> None:
    Trained(log_of_a_negative).stopped(tmp_path / "run")
    folder = tmp_path / "run"
    modes = {path.stat().st_mode for path in [folder / "run.json", *(folder / "state").iterdir()]}
    assert len(modes) == 1
