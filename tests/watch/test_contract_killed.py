"""``kill -9`` at any moment leaves a record that reads, with all but its last two seconds."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from torch import nn

import headwater
from headwater import Run

MOMENTS = 20
MOST_LOST_S = 2.0


def train(folder: Path, seconds_a_step: float) -> None:
    """Train for ever under observation; one line a finished step, with its time, in a file."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    with (folder / "steps").open("w", buffering=1) as done, headwater.watch(out=folder / "run"):
        for step in range(10**9):
            optimiser.zero_grad()
            model(torch.randn(16, 8)).square().mean().backward()
            time.sleep(seconds_a_step)
            optimiser.step()
            done.write(f"{step} {time.monotonic()}\n")


def killed(folder: Path, seconds_a_step: float, after_s: float) -> float:
    """Kill a training in a forked process after so long; return when."""
    folder.mkdir()
    child = os.fork()
    if child == 0:
        try:
            train(folder, seconds_a_step)
        finally:
            os._exit(1)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    moment = time.monotonic()
    os.waitpid(child, 0)
    return moment


def finished(folder: Path, before: float) -> int:
    """Return how many steps had ended before a moment."""
    if not (folder / "steps").exists():
        return 0
    lines = [line.split() for line in (folder / "steps").read_text().splitlines()]
    return sum(len(line) == 2 and float(line[1]) < before for line in lines)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_killed_training_loses_two_seconds_at_most(tmp_path: Path) -> None:
    moments = random.Random(20)
    for number in range(MOMENTS):
        folder = tmp_path / str(number)
        pace = 0.3 if number % 5 == 4 else 0.002
        moment = killed(folder, pace, moments.uniform(0.05, 3.0))
        kept = finished(folder, moment - MOST_LOST_S)
        if not (folder / "run").exists():  # killed before the observation began
            assert kept == 0
            continue
        if kept == 0 and not any((folder / "run").iterdir()):
            continue
        run = Run.open(folder / "run")
        steps = run.pulse["step"].to_pylist()
        assert steps == list(range(len(steps)))
        assert len(steps) >= kept
        assert run.info.exit is None
