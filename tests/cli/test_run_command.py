"""`headwater run` on scripts that train: what it leaves, says and returns."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

from headwater.runs.reader import Run

TRAINING = """
    import torch
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    inputs = torch.randn(64, 8)
    targets = inputs.sum(1, keepdim=True) / 4
    for step in range(40):
        loss = (model(inputs) - targets).square().mean()
        loss.backward()
        for parameter in model.parameters():
            parameter.data -= 0.1 * parameter.grad
            parameter.grad = None
    print(f"loss {loss.item():.6f}")
"""
# Steps by hand: building an optimiser of torch takes longer than all the rest.
WITH_OPTIMISER = TRAINING.replace(
    "    for step", "    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)\n    for step"
).replace(
    """for parameter in model.parameters():
            parameter.data -= 0.1 * parameter.grad
            parameter.grad = None""",
    "optimiser.step(); optimiser.zero_grad()",
)
SICK = TRAINING.replace(".square()", ".log()")


@dataclass(frozen=True, kw_only=True)
class Ended:
    stdout: str
    stderr: str
    code: int

    @property
    def lines(self) -> list[str]:
        return self.stderr.splitlines()


def run(folder: Path, script: str, *options: str, plain: bool = False, **environ: str) -> Ended:
    (folder / "train.py").write_text(dedent(script))
    command = [] if plain else ["-m", "headwater", "run", *options]
    ours = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    done = subprocess.run(
        [sys.executable, *command, "train.py"],
        cwd=folder,
        env={"OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin", **ours, **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Ended(stdout=done.stdout, stderr=done.stderr, code=done.returncode)


def test_a_healthy_script_leaves_a_record_and_is_told_so(tmp_path: Path) -> None:
    plain = run(tmp_path, WITH_OPTIMISER, plain=True)
    ended = run(tmp_path, WITH_OPTIMISER)
    assert (ended.stdout, ended.code) == (plain.stdout, 0)

    (folder,) = (tmp_path / "headwater-runs").iterdir()
    assert re.fullmatch(r"\d{8}-\d{6}-train", folder.name)
    record = Run.open(folder)
    assert record.info.script == str(tmp_path / "train.py")
    assert record.info.directory == str(tmp_path)
    assert record.info.command == ("train.py",)
    assert record.info.exit == {"code": 0, "exception": None}
    assert record.info.observation["status"] == "complete"
    assert record.pulse.num_rows == 40

    observed, found, following = ended.lines
    place = f"headwater-runs/{folder.name}"
    samples = len(record.sampled_steps)
    assert re.fullmatch(
        rf"headwater: observed 40 steps, {samples} samples; overhead [\d.]+ %; record in {place}",
        observed,
    )
    assert re.fullmatch(
        r"headwater: nothing wrong found \(\d+ rules say healthy, \d+ cannot say\)", found
    )
    assert following == "headwater: next: headwater show"
    assert json.loads((folder / "findings.json").read_text()) == []


def test_a_sick_script_fails_the_build_with_its_findings_as_json(tmp_path: Path) -> None:
    plain = run(tmp_path, SICK, plain=True)
    options = ("--json", "--out", "a/b", "--every", "4", "--fail-on")
    ended = run(tmp_path, SICK, *options, "error")
    assert ended.code == 3
    assert ended.stdout.startswith(plain.stdout)
    findings = json.loads(ended.stdout.removeprefix(plain.stdout))
    assert findings == json.loads((tmp_path / "a/b/findings.json").read_text())
    assert not (tmp_path / "headwater-runs").exists()

    wanted = {"code", "symptom", "severity", "confidence", "first_step", "step", "where"}
    wanted |= {"causes", "evidence", "remedies", "message"}
    assert all(wanted <= set(finding) for finding in findings)
    severities = [finding["severity"] for finding in findings]
    assert severities == sorted(severities, key=["error", "warning", "info"].index)
    assert severities[0] == "error"

    _, *said, following = ended.lines
    assert [line.split()[1:4] for line in said] == [
        [finding["severity"], finding["code"], f"{finding['symptom']}:"] for finding in findings
    ]
    assert following == "headwater: next: headwater show a/b"
    steps = Run.open(tmp_path / "a/b").sampled_steps
    assert steps == (0, 1, 2, *range(4, 40, 4))

    again = run(tmp_path, SICK, *options, "error")
    assert (again.stdout, again.code) == ("", 2)
    assert again.lines == [
        "headwater: --out got 'a/b', which already holds a run; name a new folder, or remove it"
    ]


def test_findings_below_the_level_do_not_fail_the_build(tmp_path: Path) -> None:
    ended = run(tmp_path, TRAINING, "--fail-on", "warning", "--quiet")
    assert (ended.code, ended.stderr) == (0, "")


def test_an_exception_out_of_backward_prints_as_under_plain_python(tmp_path: Path) -> None:
    script = TRAINING.replace(
        "loss.backward()", "(loss if step < 3 else loss.detach()).backward()"
    ).replace("parameter.grad = None", "parameter.grad.zero_()")
    plain = run(tmp_path, script, plain=True)
    ended = run(tmp_path, script, "--quiet")
    assert "does not require grad" in plain.stderr
    assert ended == plain
    (folder,) = (tmp_path / "headwater-runs").iterdir()
    record = Run.open(folder)
    assert record.info.exit is not None
    assert record.info.exit["code"] == 1
    assert record.info.exit["exception"].startswith("RuntimeError: element 0 of tensors does not")
    assert record.pulse.num_rows >= 3


def test_the_last_words_come_after_the_traceback(tmp_path: Path) -> None:
    ended = run(tmp_path, TRAINING + "    raise ValueError('late')\n")
    assert ended.code == 1
    at = ended.lines.index("ValueError: late")
    assert [line.split(":")[0] for line in ended.lines[at + 1 :]] == ["headwater"] * 3


@pytest.mark.parametrize("end", ["", "raise SystemExit(4)"])
def test_a_script_without_backward_gets_one_line_and_its_own_exit_code(
    tmp_path: Path, end: str
) -> None:
    ended = run(tmp_path, f"import torch\nprint(torch.ones(2).sum())\n{end}\n")
    assert ended.stdout == "tensor(2.)\n"
    assert ended.code == (4 if end else 0)
    line = (
        "headwater: train.py never called backward; nothing to observe; give the script that "
        "trains, in the process that trains"
    )
    assert ended.lines == ([] if end else [line])


def test_a_script_without_torch_gets_one_line_too(tmp_path: Path) -> None:
    ended = run(tmp_path, "print('hello')\n", "--json")
    assert ended.stdout == "hello\nnull\n"
    assert [line.split(";")[0] for line in ended.lines] == [
        "headwater: train.py never imported torch"
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["train.py"]


def test_the_script_is_the_first_to_import_torch(tmp_path: Path) -> None:
    script = """
        import os, sys
        print({"torch", "numpy", "pyarrow", "rich"} & set(sys.modules))
        os.environ["OMP_NUM_THREADS"] = "2"
        finders = len(sys.meta_path)
        import torch
        print(torch.get_num_threads(), torch.__spec__.loader is torch.__loader__)
        print(type(torch.__loader__).__name__, finders - len(sys.meta_path))
    """
    ended = run(tmp_path, script, "--quiet")
    assert ended.stdout == "set()\n2 True\nSourceFileLoader 1\n"


@pytest.mark.parametrize(("options", "code"), [((), 0), (("--fail-on", "error"), 70)])
def test_where_no_folder_can_be_made_the_script_runs_unobserved(
    tmp_path: Path, options: tuple[str, ...], code: int
) -> None:
    (tmp_path / "headwater-runs").write_text("a file")
    plain = run(tmp_path, TRAINING, plain=True)
    ended = run(tmp_path, TRAINING, *options)
    assert (ended.stdout, ended.code) == (plain.stdout, code)
    (line,) = ended.lines
    assert line.startswith("headwater: cannot write the run's folder (")
    assert line.endswith("; the script runs unobserved")


def test_where_the_observer_cannot_start_the_script_runs_unobserved(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nsys.modules['headwater.watch.door'] = None\n"
    )
    ended = run(tmp_path, "import torch\nprint('hello')\n", PYTHONPATH=str(tmp_path))
    assert (ended.stdout, ended.code) == ("hello\n", 70)
    (line,) = ended.lines
    assert line.startswith("headwater: a fault of headwater's: ModuleNotFoundError: ")
    assert line.endswith("; the script runs unobserved")
    assert not (tmp_path / "headwater-runs").exists()


@pytest.mark.parametrize(("end", "code"), [("", 70), ("raise SystemExit(5)", 5)])
def test_a_fault_of_ours_after_the_end_is_one_line_and_spares_the_script_s_code(
    tmp_path: Path, end: str, code: int
) -> None:
    broken = f"""
        import headwater.rules
        headwater.rules.judge = lambda run: 1 / 0
        {end}
    """
    ended = run(tmp_path, dedent(TRAINING) + dedent(broken))
    assert ended.code == code
    assert ended.lines == [
        "headwater: a fault of headwater's: ZeroDivisionError: division by zero "
        "(HEADWATER_DEBUG=1 shows the traceback)"
    ]
    if code == 70:
        ended = run(tmp_path, dedent(TRAINING) + dedent(broken), HEADWATER_DEBUG="1")
        assert ended.code == code
        assert ended.lines[0] == "Traceback (most recent call last):"


def test_an_interrupt_closes_the_record_and_still_ends_it_by_the_signal(tmp_path: Path) -> None:
    stop = "        if step == 9: import os, signal; os.kill(os.getpid(), signal.SIGINT)\n"
    script = TRAINING.replace("    print(", stop + "    print(")
    ended = run(tmp_path, script)
    assert ended.code == -signal.SIGINT
    assert "KeyboardInterrupt" in ended.lines
    assert "headwater: next: headwater show" in ended.lines
    (folder,) = (tmp_path / "headwater-runs").iterdir()
    record = Run.open(folder)
    assert record.info.exit == {"code": 130, "exception": "KeyboardInterrupt"}
    assert record.pulse.num_rows in (9, 10)


def test_a_forked_child_says_nothing(tmp_path: Path) -> None:
    script = dedent(TRAINING) + "import os\nif os.fork(): os.wait()\n"
    ended = run(tmp_path, script)
    assert ended.code == 0
    assert len(ended.lines) == 3


def test_a_script_that_changes_its_surroundings_still_gets_its_record(tmp_path: Path) -> None:
    script = dedent(TRAINING).replace("for step", "model.to('cpu')\nfor step") + dedent("""
        import io, os, sys
        os.mkdir("elsewhere")
        os.chdir("elsewhere")
        os.environ.clear()
        sys.stdout = sys.stderr = io.StringIO()
        sys.argv.clear()
    """)
    ended = run(tmp_path, script, "--json")
    (folder,) = (tmp_path / "headwater-runs").iterdir()
    assert ended.code == 0
    assert ended.stdout.splitlines()[-1] == "[]"
    assert len(ended.lines) == 3
    assert (folder / "findings.json").exists()
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_rank_of_a_distributed_job_writes_its_own_folder(tmp_path: Path) -> None:
    run(tmp_path, TRAINING, WORLD_SIZE="2", RANK="1")
    (job,) = (tmp_path / "headwater-runs").iterdir()
    assert [path.name for path in job.iterdir()] == ["rank1"]
    assert Run.open(job).path == job / "rank1"
