"""Ended in any way, at any moment, a process leaves a record that reads, at most 2 s short."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest

from headwater import Run

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and signals")

TRAINING = """
import os, sys, time
import torch
pause, end = float(sys.argv[1]), sys.argv[2]
model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
done = open(sys.argv[3], "w")
print(repr(time.time()), file=done, flush=True)
for step in range(100_000):
    optimiser.zero_grad()
    model(torch.ones(4, 8)).square().mean().backward()
    time.sleep(pause)
    optimiser.step()
    print(repr(time.time()), file=done, flush=True)
    if end == "exit" and step == 150:
        os._exit(7)
"""

SERVER = """
import json, os, sys
import torch
from headwater.cli.main import main
from headwater.runs.schema import SCHEMAS
from headwater.watch.observation import Observation
torch.optim.SGD([torch.zeros(1)])
for words in json.load(sys.stdin):
    process = os.fork()
    if process == 0:
        os._exit(main(["run", *words]))
    print(process, flush=True)
"""
"""Starts many observed scripts for one import of torch, of pyarrow, and of what optimisers need."""

FLUSH_S = 2.0


class Started:
    def __init__(self, folder: Path, pause: float, end: str) -> None:
        self.folder, self.times = folder, folder.with_suffix(".times")
        script = str(folder.parent / "train.py")
        options = ["--quiet", "--out", str(folder)]
        self.words = [*options, script, str(pause), end, str(self.times)]
        self.process = 0

    def steps(self) -> list[float]:
        """When the training began, and when each step that the script saw was done."""
        text = self.times.read_text() if self.times.exists() else ""
        return [float(line) for line in text.splitlines()]

    def wait_for(self, seconds: float, steps: int = 0) -> None:
        """Wait until the training has been going for so long, and for so many steps."""
        deadline = time.monotonic() + 60
        while True:
            began, *done = self.steps() or [time.time() + 60]
            if time.time() - began >= seconds and len(done) >= steps:
                return
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def end(self, number: int) -> float:
        os.kill(self.process, number)
        return time.time()

    def assert_kept(self, ended: float) -> Run:
        record = Run.open(self.folder)
        _, *steps = self.steps()
        rows = record.pulse.num_rows
        assert record.pulse["step"].to_pylist() == list(range(rows))
        lost = [done for done in steps[rows:] if done < ended - FLUSH_S]
        assert lost == [], f"{rows} of {len(steps)} steps kept"
        assert record.info.ended is None
        assert record.info.command[0].endswith("train.py")
        for step in record.sampled_steps:
            ledger = record.ledger(step)
            for name in ledger.names:
                assert ledger.measured(name) == pytest.approx(ledger.decades(name), abs=1e-5)
        return record


def start(started: list[Started]) -> subprocess.Popen[str]:
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    json.dump([each.words for each in started], server.stdin)
    server.stdin.close()
    for each in started:
        each.process = int(server.stdout.readline())
    return server


def test_a_kill_at_any_moment_loses_two_seconds_at_most(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(dedent(TRAINING))
    draw = random.Random(20)
    moments = sorted(draw.uniform(0.05, 3.0) for _ in range(20))
    killed = [Started(tmp_path / f"kill{number}", 0.03, "") for number in range(20)]
    slow = Started(tmp_path / "slow", 1.0, "")
    terminated = Started(tmp_path / "term", 0.005, "")
    left = Started(tmp_path / "exit", 0.005, "exit")
    with start([*killed, slow, terminated, left]) as server:
        try:
            for each, moment in zip(killed, moments, strict=True):
                each.wait_for(moment)
                each.assert_kept(each.end(signal.SIGKILL))
            record = terminated.assert_kept(terminated.end(signal.SIGTERM))
            assert record.pulse.num_rows > 10
            slow.wait_for(3.5)
            record = slow.assert_kept(slow.end(signal.SIGKILL))
            assert record.pulse.num_rows >= 1
            left.wait_for(0, steps=151)
            left.assert_kept(left.steps()[-1])
        finally:
            for each in (*killed, slow, terminated, left):
                try:
                    os.kill(each.process, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            server.wait()


FORKING = """
import os, sys, threading
import torch
import headwater

model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
threads = threading.active_count()

def train(steps):
    for _ in range(steps):
        optimiser.zero_grad()
        model(torch.ones(4, 4)).square().mean().backward()
        optimiser.step()

def unobserved_train():
    found = []
    def note(frame, event, argument):
        name = frame.f_code.co_filename
        if "/headwater/" in name or name.startswith("<headwater"):
            found.append(frame.f_code.co_qualname)
    sys.setprofile(note)
    train(2)
    sys.setprofile(None)
    return found or torch.is_anomaly_enabled()

def child(body):
    process = os.fork()
    if process == 0:
        os._exit(1 if body() else 0)
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))

train(3)
child(unobserved_train)
child(lambda: None)
with headwater.watch(out=sys.argv[1], every=1) as run:
    train(2)
    process = os.fork()
    if process == 0:
        train(4)
    else:
        print(os.waitstatus_to_exitcode(os.wait()[1]))
        train(2)
if process == 0:
    os._exit(1 if unobserved_train() or run.record.pulse.num_rows > 2 else 0)
print(run.record.pulse.num_rows, threading.active_count() - threads)
train(1)
process = os.fork()
print("child" if process == 0 else os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
train(1)
"""


def test_a_child_that_is_forked_is_let_go_and_its_parent_is_observed_on(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(FORKING)
    inner = tmp_path / "inner"
    ended = subprocess.run(
        [sys.executable, "-m", "headwater", "run", "--out", "outer", "train.py", str(inner)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == ["0", "0", "0", "4", "0", "child", "0"]
    said = [line.split(";")[0] for line in ended.stderr.splitlines()]
    assert said[0].startswith("headwater: observed 9 steps, ")
    assert len(said) == 3
    assert Run.open(tmp_path / "outer").pulse["step"].to_pylist() == list(range(9))
    assert Run.open(inner).pulse["step"].to_pylist() == list(range(4))
    for record in (Run.open(tmp_path / "outer"), Run.open(inner)):
        assert record.info.observation["status"] == "complete"
