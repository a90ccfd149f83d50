"""Observed or not, a training computes, prints and leaves the same, to the last bit."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from outcomes import outcome
from programs import PROGRAMS, Program

import headwater

OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "every step": {"every": 1},
    "every other": {"every": 2},
}

WORDS = ("stdout", "stderr", "warnings")
UNSEEN = {"numbers_that_are_not_there"}
"""Programs that have nothing to see."""


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_observing_changes_nothing(
    program: Program, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runs = {name: headwater.watch(out=tmp_path / name, **each) for name, each in OPTIONS.items()}
    # Twice without: the first time torch says and does what it does but once in a process.
    blocks = {"first": nullcontext(), "plain": nullcontext(), **runs}
    outcomes = {name: outcome(program, block, capfd) for name, block in blocks.items()}
    plain = outcomes["plain"]
    for name, run in runs.items():
        observed = outcomes[name]
        different = [key for key in {**plain, **observed} if plain.get(key) != observed.get(key)]
        words = [(key, plain[key], observed[key]) for key in different if key in WORDS]
        assert different == [], (name, words)
        assert run.record.info.observation["status"] == "complete"
        assert bool(run.record.sampled_steps) is (program.__name__ not in UNSEEN)


def test_what_functional_transforms_hide_is_noted(tmp_path: Path) -> None:
    with headwater.watch(out=tmp_path / "run") as run:
        x = torch.ones(3)
        torch.func.vmap(torch.func.grad(lambda t: t * t))(x)
        torch.func.grad(lambda t: t.sum())(x)
    (note,) = run.record.info.observation["notes"]
    assert note.startswith("torch.func transforms ran")
