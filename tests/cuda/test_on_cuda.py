"""What holds on the CPU holds on a CUDA device; skipped where there is none."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from trainings import TRAININGS, perceptron, run

import headwater as hw
from headwater.runs.reader import Run
from headwater.watch.statistics import Fetched, norm

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
    # torch's own compiler and graphs warn of many things that are no concern of these tests.
    pytest.mark.filterwarnings("ignore"),
]

OPTIONS: dict[str, dict[str, Any]] = {"default": {}, "every step": {"every": 1}}


@pytest.fixture(autouse=True)
def _deterministic() -> Iterator[None]:
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    yield
    torch.backends.cudnn.deterministic = before


@pytest.mark.parametrize("name", TRAININGS)
def test_observing_changes_nothing(name: str, tmp_path: Path) -> None:
    run(TRAININGS[name], nullcontext())  # torch does some things but once in a process
    plain = run(TRAININGS[name], nullcontext())
    for how, options in OPTIONS.items():
        watch = hw.watch(out=tmp_path / how, **options)
        left = run(TRAININGS[name], watch)
        different = [key for key in plain if not torch.equal(plain[key], left[key])]
        assert different == [], how
        seen = watch.record
        assert seen.info.observation["status"] == "complete", seen.info.observation
        assert seen.pulse.num_rows > 0


def test_the_record_names_the_device(tmp_path: Path) -> None:
    with hw.watch(out=tmp_path / "run") as seen:
        perceptron()
    assert "cuda" in str(seen.record.info.device).lower()


@pytest.mark.parametrize("scale", [1.5, 0.5])
def test_each_layer_of_a_scaled_identity_has_the_decades_of_its_scale(
    scale: float, tmp_path: Path
) -> None:
    layers = [nn.Linear(8, 8, bias=False, device="cuda") for _ in range(12)]
    for layer in layers:
        nn.init.eye_(layer.weight).data.mul_(scale)
    model = nn.Sequential(*layers)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.0)
    with hw.watch(model, optimiser, every=1, out=tmp_path / "run") as seen:
        model(torch.randn(5, 8, device="cuda")).square().sum().backward()
        optimiser.step()
    through = [e for e in seen.ledger(0).entries("0.weight") if e.kind == "weights"][:-1]
    expected = [math.log10(scale)] * len(through)
    assert len(through) == 11
    assert [e.decades for e in through] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", ["mlp", "convolutions", "lstm", "gru", "transformer"])
def test_the_entries_of_every_parameter_sum_to_its_gradient(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model: nn.Module
    inputs = torch.randn(6, 5, 16, device="cuda")
    if kind == "convolutions":
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3))
        inputs = torch.randn(4, 3, 12, 12, device="cuda")
    elif kind == "mlp":
        model = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 3))
    elif kind == "transformer":
        model = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, dropout=0.0)
    else:
        model = {"lstm": nn.LSTM, "gru": nn.GRU}[kind](16, 8, num_layers=2)
    model = model.cuda()
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
    with hw.watch(model, optimiser, every=1, out=tmp_path / "run") as seen:
        out = model(inputs)
        (out[0] if isinstance(out, tuple) else out).square().mean().backward()
        measured = {
            name: math.log10(float(one.grad.double().norm()))
            for name, one in model.named_parameters()
            if one.grad is not None and float(one.grad.norm()) > 0
        }
        optimiser.step()
    ledger = seen.ledger(0)
    assert measured
    for name, expected in measured.items():
        total = sum(entry.decades for entry in ledger.entries(name))
        assert total == pytest.approx(expected, abs=1e-5), name


def test_norms_of_extreme_entries_are_right() -> None:
    large, small = (torch.full((4096,), value, device="cuda") for value in (1e20, 1e-23))
    found = Fetched([norm(large), norm(small), norm(torch.tensor([1.0, math.nan]).cuda())]).values()
    assert found[:2] == pytest.approx([64e20, 64e-23], rel=1e-6)
    assert math.isnan(found[2])


def test_the_four_norms_of_a_scaled_and_clipped_gradient_are_told_apart(tmp_path: Path) -> None:
    model = nn.Linear(8, 1).cuda()
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cuda", init_scale=1024.0)
    with hw.watch(model, optimiser, every=1, out=tmp_path / "run") as seen:
        for _ in range(3):
            optimiser.zero_grad()
            loss = 100 * model(torch.ones(4, 8, device="cuda")).square().mean()
            scaler.scale(loss).backward()
            scaler.unscale_(optimiser)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimiser)
            scaler.update()
    row = seen.record.parameter_rows.to_pylist()[0]
    assert row["raw_norm"] == pytest.approx(1024 * row["unscaled_norm"], rel=1e-4)
    assert row["clipped_norm"] < row["unscaled_norm"]


TIMES = {"time_s", "step_ms"}


def _classifier() -> nn.Module:
    return nn.Sequential(
        nn.Linear(16, 24), nn.Tanh(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 3)
    )


class Loop(nn.Module):
    """Fourteen calls of one square weight, then a decision."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.back, self.decide = nn.Linear(16, 24), nn.Linear(24, 24), nn.Linear(24, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        state = torch.tanh(self.inside(inputs))
        for _ in range(14):
            state = torch.tanh(self.back(state) + self.inside(inputs))
        out: Tensor = self.decide(state)
        return out


class Attention(nn.Module):
    """Attention with a softmax of its own, over four words of four numbers."""

    def __init__(self) -> None:
        super().__init__()
        # A bias of keys has no gradient but rounding's.
        self.qkv, self.decide = nn.Linear(4, 12, bias=False), nn.Linear(16, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        q, k, v = self.qkv(inputs.view(-1, 4, 4)).chunk(3, dim=-1)
        mixed = torch.softmax(q @ k.transpose(1, 2), dim=-1) @ v
        out: Tensor = self.decide(mixed.flatten(1))
        return out


def _recorded(model: nn.Module, device: str, folder: Path) -> Run:
    """Train on what the seed gives on the CPU, whichever the device."""
    torch.manual_seed(0)
    for one in model.parameters():
        one.data.uniform_(-0.4, 0.4)
    inputs = torch.randn(6, 32, 16, dtype=torch.float64).to(device)
    labels = torch.randint(3, (6, 32)).to(device)
    # Double precision: they are apart by its rounding alone.
    model = model.to(device, torch.float64)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.5)
    with hw.watch(model, optimiser, every=1, out=folder) as seen:
        for batch, wanted in zip(inputs, labels, strict=True):
            optimiser.zero_grad()
            F.cross_entropy(model(batch), wanted).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.2)
            optimiser.step()
    return seen.record


def _alike(value: Any) -> Any:
    """Return what a value equals up to rounding in double precision."""
    numbers = value if isinstance(value, list) else [value]
    if not all(isinstance(one, float) for one in numbers):
        return value
    return pytest.approx(value, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("network", [_classifier, Loop, Attention])
def test_a_record_holds_what_it_would_on_the_cpu(
    network: Callable[[], nn.Module], tmp_path: Path
) -> None:
    """Every column that is not a time, of every table and row."""
    here = _recorded(network(), "cpu", tmp_path / "cpu")
    there = _recorded(network(), "cuda", tmp_path / "cuda")
    for name in ("pulse", "parameter_rows", "site_rows"):
        ours, theirs = getattr(there, name).to_pylist(), getattr(here, name).to_pylist()
        assert len(ours) == len(theirs), name
        for found, expected in zip(ours, theirs, strict=True):
            for column in expected.keys() - TIMES:
                alike = _alike(expected[column])
                assert found[column] == alike, (name, column, expected)


BREAKS = """
import torch
from torch import nn
torch.manual_seed(0)
model = nn.Linear(4, 4).cuda()
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(30):
    optimiser.zero_grad()
    out = model(torch.ones(2, 4, device="cuda"))
    loss = out.square().mean()
    if step == 20:
        loss = loss + torch.log(-out.square()).mean()
    loss.backward()
    optimiser.step()
print("done")
"""


def test_a_line_whose_numbers_break_is_named_by_running_again(tmp_path: Path) -> None:
    script = tmp_path / "breaks.py"
    script.write_text(BREAKS)
    command = [sys.executable, "-m", "headwater", "run", "--rewind", "--out", "run", "breaks.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()[:4]) == (0, "done"), done.stderr
    (fault, *_) = Run.open(tmp_path / "run").info.faults
    assert (fault.operation, fault.where.line, fault.step) == ("log", 12, 20), done.stderr


def test_steps_between_samples_do_not_wait_for_the_device(tmp_path: Path) -> None:
    """A loop whose steps nobody reads must not be read by the observer either."""
    model = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4)).cuda()
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
    inputs = torch.randn(8, 32, device="cuda")

    def step() -> None:
        optimiser.zero_grad()
        model(inputs).square().mean().backward()
        optimiser.step()

    with hw.watch(model, optimiser, overhead=0.0, out=tmp_path / "run"):
        for _ in range(40):
            step()
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(40):
                step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
