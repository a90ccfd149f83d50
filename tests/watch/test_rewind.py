"""A step that cannot be run again in a copy is looked at in a second run of the script."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

FLEET = Path(__file__).parents[1] / "nonfinite" / "fleet.py"

BROKEN = """
    import random
    import sys
    import numpy as np
    import torch
    {seed}
    torch.manual_seed({torchs})
    weight = torch.nn.Parameter(torch.ones(4))
    optimiser = torch.optim.SGD([weight], lr=0.01)
    batches = [torch.rand(4) + random.random() + np.random.rand() for _ in range(8)]
    for step, x in enumerate(batches):
        x = x - (10 if step == 5 else 0)
        x = x.log()
        loss = (weight * x).sum()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    print("ended", " ".join(sys.argv[1:]))
"""


ONCE = BROKEN.replace("step == 5", "step == 5 and not os.path.exists('was-here')").replace(
    'print("ended"', 'open("was-here", "w").close(); print("ended"'
)
KNOWN = BROKEN.replace("x = x.log()", "y = x.log()").replace("weight * x", "weight * y")


def run(folder: Path, way: list[str], **scripts: str) -> dict[str, dict[str, Any]]:
    for name, script in scripts.items():
        (folder / f"{name}.py").write_text(dedent(script))
    done = subprocess.run(
        [sys.executable, str(FLEET), *way, *(str(folder / f"{name}.py") for name in scripts)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    return {each["name"]: each for each in told}


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    told = run(
        tmp_path_factory.mktemp("scripts"),
        ["rewound"],
        unseeded=BROKEN.format(seed="", torchs=0),
        otherwise=BROKEN.format(seed="import os", torchs="os.getpid()"),
        once=ONCE.format(seed="import os", torchs=0),
    )
    return {name: each["faults"][0] for name, each in told.items()}


def test_numbers_that_nobody_seeded_are_the_same_again(faults: dict[str, dict[str, Any]]) -> None:
    fault = faults["unseeded"]
    assert (fault["how"], fault["step"], fault["reproduced"]) == ("rewound", 5, True)
    assert (fault["operation"], fault["cause"]) == ("log", "log-of-negative")
    assert fault["where"]["line"] == 13
    assert fault["confidence"] > 0.9
    assert "those of the first" in fault["note"]


def test_a_second_run_that_takes_another_course_is_believed_less(
    faults: dict[str, dict[str, Any]],
) -> None:
    fault = faults["otherwise"]
    assert fault["where"]["line"] == 13
    assert fault["confidence"] == 0.8
    assert "differ from step 0 on" in fault["note"]


def test_a_second_run_that_does_not_break_is_said_to_have_shown_nothing(
    faults: dict[str, dict[str, Any]],
) -> None:
    fault = faults["once"]
    assert (fault["how"], fault["reproduced"], fault["confidence"]) == ("rewound", False, 0.0)
    assert fault["note"] == "the second run did not break there"


def test_nothing_is_run_again_where_the_line_is_known_or_nothing_broke(tmp_path: Path) -> None:
    told = run(
        tmp_path,
        ["observed", "--rewind"],
        known=KNOWN.format(seed="", torchs=0),
        fine=BROKEN.replace("step == 5", "False").format(seed="", torchs=0),
    )
    for each in told.values():
        assert each["code"] == 0
        assert "again" not in each["stderr"]
        assert all(fault["how"] == "forked" for fault in each["faults"])
    assert [len(each["faults"]) for each in told.values()] == [1, 0]


def test_the_first_run_stays_as_it_is_and_the_second_prints_nothing(tmp_path: Path) -> None:
    seeded = BROKEN.format(seed="random.seed(1); np.random.seed(1)", torchs=0)
    left = "print(weight.tolist(), random.random(), np.random.rand(), torch.rand(1).item())\n"
    (tmp_path / "train.py").write_text(dedent(seeded) + left)
    plain, observed = (
        subprocess.run(
            [sys.executable, *words, "train.py", "--x"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=False,
        )
        for words in ((), ("-m", "headwater", "run", "--rewind", "--out", "run"))
    )
    assert plain.stdout.startswith("ended --x\n[nan")
    assert (observed.returncode, observed.stdout) == (plain.returncode, plain.stdout)
    said = observed.stderr.splitlines()
    assert said[0].endswith("broke at step 5 is not known; running the script again up to there")
    (fault, *_) = json.loads((tmp_path / "run" / "run.json").read_text())["faults"]
    assert (fault["how"], fault["where"]["line"]) == ("rewound", 13)
    findings = json.loads((tmp_path / "run" / "findings.json").read_text())
    told = next(each for each in findings if each["code"] == "HW301")
    assert told["where"][0]["line"] == 13
