"""Observed or not, a training computes, prints and leaves the same, to the last bit."""

from __future__ import annotations

import random
import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from programs import PROGRAMS, Program, bits, leaves

import headwater

OPTIONS: dict[str, dict[str, Any]] = {"default": {}, "every step": {"every": 1}}

UNSEEN = {"numbers_that_are_not_there"}
"""Programs that have nothing to see."""


def outcome(
    program: Program,
    block: AbstractContextManager[object],
    capfd: pytest.CaptureFixture[str],
) -> dict[str, Any]:
    torch.manual_seed(11)
    random.seed(11)
    np.random.seed(11)
    capfd.readouterr()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with block:
            left = program()
    streams = {"torch": torch.get_rng_state(), "numpy": str(np.random.get_state())}
    found = {path: bits(leaf) for path, leaf in leaves(left)}
    found |= {path: bits(leaf) for path, leaf in leaves(streams)}
    printed = capfd.readouterr()
    return found | {
        "python": random.getstate(),
        "stdout": printed.out,
        "stderr": printed.err,
        "warnings": [(str(each.message), each.filename, each.lineno) for each in warned],
    }


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_observing_changes_nothing(
    program: Program, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    outcome(program, nullcontext(), capfd)  # what torch says and does but once in a process
    plain = outcome(program, nullcontext(), capfd)
    for name, options in OPTIONS.items():
        run = headwater.watch(out=tmp_path / name, **options)
        observed = outcome(program, run, capfd)
        different = {
            key for key in plain.keys() | observed.keys() if plain.get(key) != observed.get(key)
        }
        shown = {
            key: (plain.get(key), observed.get(key))
            for key in different & {"stderr", "warnings", "stdout"}
        }
        assert different == set(), (name, shown)
        info = run.record.info
        assert info.observation["status"] == "complete", info.observation
        assert bool(run.record.sampled_steps) is (program.__name__ not in UNSEEN)
