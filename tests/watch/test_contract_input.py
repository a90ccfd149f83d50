"""Wrong calls under ``headwater run`` fail as they do without it; wrong folders cost one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from headwater import Run
from headwater.watch.tracebacks import HIDDEN

WRONG = """
    import sys, traceback, warnings
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    grad, backward = torch.autograd.grad, torch.autograd.backward
    edge_of = torch.autograd.graph.get_gradient_edge
    x = torch.ones(5, 3)
    loss = lambda: model(x).sum()

    def twice():
        kept = loss()
        kept.backward()
        kept.backward()

    def changed():
        y = model(x).exp()
        y.add_(1)
        y.sum().backward()

    def consumed():
        parameters = iter(model.parameters())
        grad(loss(), parameters)
        return len(list(parameters))

    def under_anomaly_mode():
        with torch.autograd.detect_anomaly():
            (model(x) * 0).sqrt().sum().backward()

    def around_backward_alone():
        z = (model(x) * 0).sqrt().sum()
        with torch.autograd.set_detect_anomaly(True):
            z.backward()

    leaf = torch.ones((), requires_grad=True)
    CASES = [
        twice, changed, consumed, under_anomaly_mode, around_backward_alone,
        lambda: leaf.backward(),
        lambda: leaf.grad,
        lambda: torch.ones(()).backward(),
        lambda: model(x).backward(),
        lambda: model(x).backward(gradient=torch.ones(5, 1)),
        lambda: model(x).backward(gradient=torch.ones(4, 1)),
        lambda: loss().backward(gradient=3.0),
        lambda: (loss() * 1j).backward(),
        lambda: model(x).int().sum().backward(),
        lambda: backward(),
        lambda: backward(None),
        lambda: backward([]),
        lambda: backward([loss(), 3]),
        lambda: backward(loss(), nonsense=1),
        lambda: backward(loss() for _ in range(2)),
        lambda: backward([loss(), model(x)], [None, torch.ones(5, 1)]),
        lambda: backward(edge_of(loss()), torch.ones(())),
        lambda: backward(loss(), inputs=model.parameters()),
        lambda: backward(loss(), inputs=[]),
        lambda: grad(loss()),
        lambda: grad(loss(), []),
        lambda: grad(loss(), x),
        lambda: grad(loss(), leaf),
        lambda: len(grad(loss(), dict(model.named_parameters()))),
        lambda: grad(edge_of(loss()), model[0].weight)[0].shape,
        lambda: torch.func.grad(lambda w: (w * x).sum().backward())(x),
        lambda: torch.func.grad(lambda w: (w * w).sum())(x).sum(),
    ]
    for _ in range(3):
        for number, case in enumerate(CASES):
            try:
                print(number, case())
            except BaseException as error:
                print(number, type(error).__name__, error)
                traceback.print_exc()
        state = torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()
        print(state, [p.grad.sum().item() for p in model.parameters()])
        model.zero_grad()
    torch.autograd.set_detect_anomaly(True)
    (model(x) * 0).sqrt().sum().backward()
"""


def start(folder: Path, *command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_wrong_calls_fail_in_torch_s_own_words(tmp_path: Path) -> None:
    seed = "import torch; torch.manual_seed(0)\n"
    (tmp_path / "train.py").write_text(seed + dedent(WRONG))
    run = ("-m", "headwater", "run", "--quiet")
    started = [
        start(tmp_path, "train.py"),
        start(tmp_path, *run, "train.py"),
        start(tmp_path, *run, "--every", "1", "--out", "each", "train.py"),
    ]
    plain, *observed = [(*process.communicate(), process.returncode) for process in started]
    assert plain[1].endswith("returned nan values in its 0th output.\n")
    for stdout, stderr, code in observed:
        assert stdout == plain[0]
        # What the script prints by itself has one line more where a backward pass raised; what
        # ends the script has none.
        lines = stderr.splitlines()
        last = max(n for n, line in enumerate(lines) if line.startswith("Traceback"))
        assert not any(HIDDEN in line for line in lines[last:])
        assert [line for line in lines if HIDDEN not in line] == plain[1].splitlines()
        assert code == plain[2] == 1
    record = Run.open(tmp_path / "each")
    assert record.info.observation["status"] == "complete"
    assert record.info.observation["notes"][0].startswith("torch.func transforms ran")


def test_where_the_folder_cannot_be_had_the_script_runs_unobserved(tmp_path: Path) -> None:
    script = "import torch\nw = torch.ones(2, requires_grad=True)\nw.sum().backward()\n"
    (tmp_path / "train.py").write_text(script + "print(w.grad.sum().item())\n")
    (tmp_path / "file").write_text("")
    run = ("-m", "headwater", "run")
    started = [
        start(tmp_path, *run, "--out", "one", "train.py"),
        start(tmp_path, *run, "--out", "one", "train.py"),
        start(tmp_path, *run, "--out", "file/x", "train.py"),
    ]
    ended = [(*process.communicate(), process.returncode) for process in started]
    assert [(stdout, code) for stdout, _, code in ended] == [("2.0\n", 0)] * 3
    *both, nowhere = [stderr.splitlines() for _, stderr, _ in ended]
    assert len(nowhere) == 1
    assert nowhere[0].startswith("headwater: cannot write the run's folder (Not a directory: ")
    refused, observed = sorted(both, key=len)
    place = tmp_path / "one"
    assert refused == [
        f"headwater: {str(place)!r} already holds a run; name another folder, or remove that one; "
        "the script runs unobserved"
    ]
    assert observed[0].startswith("headwater: observed 1 step, 1 sample; ")
    assert Run.open(place).pulse.num_rows == 1


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_may_not_be_written_costs_one_line(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import torch\nprint(1)\n")
    (tmp_path / "closed").mkdir(mode=0o500)
    process = start(tmp_path, "-m", "headwater", "run", "--out", "closed/x", "train.py")
    stdout, stderr = process.communicate()
    assert (stdout, process.returncode) == ("1\n", 0)
    assert len(stderr.splitlines()) == 1
    assert "Permission denied" in stderr
