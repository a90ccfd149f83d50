"""A training that breaks is the same, to the last bit, whether its step is run again or not."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch
from faulty_programs import FAULTY, awkward
from outcomes import outcome
from programs import Program
from surroundings import differences, surroundings

import headwater
from headwater.replay.child import in_child, why_not_forked
from headwater.watch import faults

pytestmark = pytest.mark.skipif(bool(why_not_forked()), reason="this process cannot be copied")

OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "every step": {"every": 1},
    "keeping its state": {"keep_state": True},
}


_BEFORE: set[int] = set()
"""Children that the runner had already: another test's worker processes may outlive it."""


@pytest.fixture(autouse=True)
def _born_before() -> None:
    _BEFORE.clear()
    _BEFORE.update(children())


def children() -> list[int]:
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has ended since
            found += map(int, (task / "children").read_text().split())
    return [each for each in found if each not in _BEFORE]


def descriptors() -> list[str]:
    """Return what is open; sockets and pipes without their numbers."""
    paths = [path for path in Path("/proc/self/fd").iterdir() if path.exists()]
    return sorted(f"{path.name} {str(path.readlink()).partition(':')[0]}" for path in paths)


@pytest.mark.parametrize("program", FAULTY, ids=lambda program: program.__name__)
def test_a_training_that_breaks_goes_on_as_it_would(
    program: Program,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(faults, "_LONGEST_S", 3.0)
    runs = {name: headwater.watch(out=tmp_path / name, **each) for name, each in OPTIONS.items()}
    blocks = {"first": nullcontext(), "plain": nullcontext(), **runs}
    open_before, alive_before = [], []
    outcomes = {}
    for name, block in blocks.items():
        outcomes[name] = outcome(program, block, capfd)
        alive_before.append(children())
        gc.collect()  # a loader leaves its last batch to the collector, also without us
        open_before.append(descriptors())
    plain = outcomes["plain"]
    for name, run in runs.items():
        observed = outcomes[name]
        different = [key for key in {**plain, **observed} if plain.get(key) != observed.get(key)]
        assert different == [], name
        info = run.record.info
        assert info.observation["status"] == "complete"
        assert info.faults, "proves nothing"
    assert alive_before == [[]] * len(blocks)
    assert open_before[2:] == [open_before[1]] * len(runs)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave() -> None:
    os._exit(0)


def hang() -> None:
    time.sleep(1000)


def wait_for_a_lock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def raise_exit() -> None:
    raise SystemExit(5)


def raise_interrupt() -> None:
    raise KeyboardInterrupt


def close_everything() -> None:
    os.closerange(0, 256)


def ignore_all_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(1000)


@pytest.mark.parametrize(
    "what",
    [die, leave, hang, wait_for_a_lock, raise_exit, raise_interrupt, close_everything,
     ignore_all_signals],
)  # fmt: skip
def test_a_copy_that_comes_to_grief_costs_the_training_nothing(
    what: Callable[[], None],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(faults, "_LONGEST_S", 0.3)
    monkeypatch.setattr(faults, "_STEPS", 0)
    run = headwater.watch(out=tmp_path / "run")
    before, opened = surroundings(), descriptors()
    blocks = {"first": nullcontext(), "plain": nullcontext(), "observed": run}
    outcomes = {n: outcome(lambda: awkward(what), b, capfd) for n, b in blocks.items()}
    assert outcomes["observed"] == outcomes["plain"]
    assert differences(before, surroundings()) == {}
    assert (children(), descriptors()) == ([], opened)
    found = run.record.info.faults
    assert found
    assert not any(fault.reproduced for fault in found)
    assert all(fault.confidence == 0 and fault.note for fault in found)
    assert run.record.info.observation["status"] == "complete"


def test_an_interrupt_while_the_copy_works_is_the_user_s_and_leaves_no_copy(tmp_path: Path) -> None:
    home = os.getpid()

    def interrupt_and_hang() -> None:
        os.kill(os.getpid(), 0)
        time.sleep(1000)

    timer = threading.Timer(0.5, lambda: os.kill(home, signal.SIGINT))
    before, opened = surroundings(), descriptors()
    run = headwater.watch(out=tmp_path / "run")
    timer.start()
    started = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt), run:
            awkward(interrupt_and_hang)
    finally:
        timer.join()
    assert time.monotonic() - started < 8, "it waited for the copy"
    assert (children(), descriptors()) == ([], opened)
    assert differences(before, surroundings()) == {}
    assert run.record.info.observation["status"] == "complete"


def test_a_child_of_the_script_s_own_is_not_taken_from_it(tmp_path: Path) -> None:
    with headwater.watch(out=tmp_path / "run") as run:
        process = os.fork()
        if process == 0:
            os._exit(7)
        weight = torch.zeros(2, requires_grad=True)
        weight.log().sum().backward()
        assert os.waitpid(process, 0) == (process, 7 << 8)
    assert run.record.info.faults[0].reproduced


def test_a_child_of_the_script_s_own_that_ends_meanwhile_is_heard_of() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGCHLD, lambda number, _: heard.append(number))
    try:
        own = os.fork()
        if own == 0:
            time.sleep(0.2)
            os._exit(0)
        assert in_child(lambda: {"slept": time.sleep(0.6)}, limit_s=20) == {"slept": None}
        assert heard == [signal.SIGCHLD]
        assert os.waitpid(own, 0)[0] == own
    finally:
        signal.signal(signal.SIGCHLD, before)


SCRIPT = """
    import atexit, os, sys, threading, warnings
    import torch

    atexit.register(lambda: print("left", os.getpid() == home))
    home = os.getpid()
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    print("kept back", end=" ")
    for step in range(8):
        x = torch.randn(6, 4)
        print("batch", step, end=" ")
        optimiser.zero_grad()
        loss = (model(x).square().mean() * (step != 4)).log()
        print("loss", end=" ")
        loss.backward()
        optimiser.step()
    print(sum(p.double().sum().item() for p in model.parameters()), torch.rand(1).item())
    print("scipy" in sys.modules, len(warnings.filters), threading.active_count())
    sys.exit(9)
"""


def test_a_script_that_breaks_prints_once_and_ends_as_it_would(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(dedent(SCRIPT))
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    plain, observed = (
        subprocess.run(
            [sys.executable, *words, "train.py"],
            cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120, check=False,
        )
        for words in ((), ("-m", "headwater", "run", "--quiet", "--out", "run"))
    )  # fmt: skip
    assert plain.stdout.count("kept back") == 1
    assert (observed.stdout, observed.returncode) == (plain.stdout, 9)
    assert observed.stderr == plain.stderr
    fault, *_ = headwater.Run.open(tmp_path / "run").info.faults
    assert (fault.step, fault.operation, fault.reproduced) == (4, "log", True)


def refused(what: Callable[[], Any]) -> bool:
    """Say whether a sealed copy of this process is kept from doing something."""

    def work() -> dict[str, Any]:
        try:
            what()
        except (PermissionError, EOFError):
            return {"refused": True}
        return {"refused": False}

    return bool(in_child(work, limit_s=20)["refused"])


def test_what_is_sealed_changes_nothing_outside(tmp_path: Path) -> None:
    file, other = tmp_path / "file", tmp_path / "other"
    file.write_text("as it was")
    attempts: list[Callable[[], Any]] = [
        lambda: file.write_text("changed"),
        lambda: file.open("a"),
        lambda: os.open(file, os.O_WRONLY | os.O_TRUNC),
        other.touch,
        other.mkdir,
        lambda: file.rename(other),
        file.unlink,
        lambda: file.chmod(0),
        lambda: torch.save(torch.ones(2), file),
        lambda: os.system(f"rm {file}"),
        lambda: subprocess.run(["rm", str(file)], check=False),
        os.fork,
        lambda: os.kill(os.getppid(), signal.SIGTERM),
    ]
    assert [refused(each) for each in attempts] == [True] * len(attempts)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert file.read_text() == "as it was"
    assert not refused(file.read_text)
    assert not refused(lambda: Path(os.devnull).write_text("x"))


def test_what_is_sealed_takes_nothing_from_a_pipe_and_moves_no_place_in_a_file(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("0123456789")
    reader, writer = os.pipe()
    os.write(writer, b"kept")
    file = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        os.read(file, 3)
        found = in_child(
            lambda: {"pipe": len(os.read(reader, 4)), "file": os.read(file, 4).decode()},
            limit_s=20,
        )
        assert found == {"pipe": 0, "file": "3456"}
        assert os.read(file, 4) == b"3456"
        assert os.read(reader, 4) == b"kept"
    finally:
        for each in (reader, writer, file):
            os.close(each)


def test_the_process_itself_is_not_sealed(tmp_path: Path) -> None:
    assert in_child(lambda: {}, limit_s=20) == {}
    torch.save(torch.ones(2), tmp_path / "file")
    assert torch.load(tmp_path / "file").tolist() == [1.0, 1.0]


class Biased(torch.nn.Module):
    """Attention over six words whose buffer holds a slope by distance, and a mask."""

    def __init__(self, *, wrong: str) -> None:
        super().__init__()
        distance = torch.arange(6.0)[:, None] - torch.arange(6.0)
        bias = (-0.1 * distance.abs()).masked_fill(distance < 0, -torch.inf)
        if wrong == "masked":
            bias[3] = -torch.inf
        elif wrong == "broken":
            bias[3, 1] = torch.nan
        self.register_buffer("bias", bias)
        self.value = torch.nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = x @ x.transpose(1, 2) + self.bias
        return scores.softmax(-1) @ self.value(x)


@pytest.mark.parametrize("wrong", ["masked", "broken"])
def test_a_buffer_of_infinities_that_is_added_may_be_a_mask(wrong: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Biased(wrong=wrong)
    with headwater.watch(model, out=tmp_path / "run") as seen:
        model(torch.randn(2, 6, 8)).square().mean().backward()
    blamed = [one for one in seen.record.info.faults if one.cause == "bad-buffer"]
    assert [one.confidence > 0.5 for one in blamed] == [wrong == "broken"] * len(blamed)
    assert blamed or wrong == "masked"
