"""A copy of the process: its answer comes back, and nothing else of it does."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from headwater.replay.child import in_child, why_not_forked

pytestmark = pytest.mark.skipif(bool(why_not_forked()), reason="this process cannot be copied")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


_BEFORE: set[str] = set()
"""Children that the runner had already: another test's worker processes may outlive it."""


@pytest.fixture(autouse=True)
def _born_before() -> None:
    _BEFORE.clear()
    _BEFORE.update(children())


def children() -> list[str]:
    found = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [each for each in found if each not in _BEFORE]


def test_a_backward_pass_works_in_the_copy_and_leaves_nothing_here(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    weight = torch.ones(64, 64, requires_grad=True)
    (weight @ weight).sum().backward()
    log = (tmp_path / "log").open("w")
    before, state, files = weight.grad, torch.get_rng_state(), open_files()

    def work() -> dict[str, Any]:
        print("not to be seen", flush=True)
        print("nor here", file=log, flush=True)
        noise = torch.randn(64, 64)
        (weight * noise).sum().backward()
        return {"changed": weight.grad is not None and bool(torch.isfinite(weight.grad).all())}

    assert in_child(work, limit_s=30) == {"changed": True}
    assert weight.grad is before
    assert weight.grad is not None
    assert torch.equal(weight.grad, torch.full((64, 64), 128.0))
    assert torch.equal(torch.get_rng_state(), state)
    assert capfd.readouterr() == ("", "")
    log.close()
    assert (tmp_path / "log").read_text() == ""
    files -= 1
    assert (open_files(), children()) == (files, [])


def test_a_copy_that_hangs_is_given_up() -> None:
    started = time.monotonic()

    def work() -> NoReturn:
        while True:
            time.sleep(1)

    with pytest.raises(RuntimeError, match="longer than 0 s"):
        in_child(work, limit_s=0.2)
    assert time.monotonic() - started < 5
    assert children() == []


def test_a_copy_that_dies_is_said() -> None:
    def work() -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    with pytest.raises(RuntimeError, match="died"):
        in_child(work, limit_s=10)


def test_what_it_raises_is_said() -> None:
    def work() -> dict[str, Any]:
        raise ValueError("no such thing")

    with pytest.raises(RuntimeError, match="ValueError: no such thing"):
        in_child(work, limit_s=10)


def test_much_data_and_numbers_that_are_none_come_back() -> None:
    found = in_child(lambda: {"many": [float("inf")] * 100_000}, limit_s=10)
    assert len(found["many"]) == 100_000
