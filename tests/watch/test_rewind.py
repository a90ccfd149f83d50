"""A step that cannot be run again in a copy is looked at in a second run of the script."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

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


def run(folder: Path, script: str, *options: str, way: str = "rewound") -> dict[str, Any]:
    path = folder / "train.py"
    path.write_text(dedent(script))
    done = subprocess.run(
        [sys.executable, str(FLEET), way, *options, str(path)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_numbers_that_nobody_seeded_are_the_same_again(tmp_path: Path) -> None:
    told = run(tmp_path, BROKEN.format(seed="", torchs=0))
    fault = told["faults"][0]
    assert (fault["how"], fault["step"], fault["reproduced"]) == ("rewound", 5, True)
    assert (fault["operation"], fault["cause"]) == ("log", "log-of-negative")
    assert fault["where"]["line"] == 13
    assert fault["confidence"] > 0.9
    assert "those of the first" in fault["note"]


def test_a_second_run_that_takes_another_course_is_believed_less(tmp_path: Path) -> None:
    told = run(tmp_path, BROKEN.format(seed="import os", torchs="os.getpid()"))
    fault = told["faults"][0]
    assert fault["where"]["line"] == 13
    assert fault["confidence"] == 0.8
    assert "differ from step 0 on" in fault["note"]


def test_a_second_run_that_does_not_break_is_said_to_have_shown_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "was-here"
    once = BROKEN.replace("step == 5", f"step == 5 and not os.path.exists({str(marker)!r})")
    once = once.replace('print("ended"', f'open({str(marker)!r}, "w").close(); print("ended"')
    told = run(tmp_path, once.format(seed="import os", torchs=0))
    fault = told["faults"][0]
    assert (fault["how"], fault["reproduced"], fault["confidence"]) == ("rewound", False, 0.0)
    assert fault["note"] == "the second run did not break there"


def test_nothing_is_run_again_where_the_line_is_known_or_nothing_broke(tmp_path: Path) -> None:
    known = BROKEN.replace("x = x.log()", "y = x.log()").replace("weight * x", "weight * y")
    for script in (known, BROKEN.replace("step == 5", "False")):
        told = run(tmp_path, script.format(seed="", torchs=0), "--rewind", way="observed")
        assert told["code"] == 0
        assert "again" not in told["stderr"]
        assert all(fault["how"] == "forked" for fault in told["faults"])


def test_the_second_run_is_a_process_of_its_own_with_the_same_words(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(dedent(BROKEN.format(seed="", torchs=0)))
    done = subprocess.run(
        [sys.executable, "-m", "headwater", "run", "--rewind", "--out", "run", "train.py", "--x"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HOME": "/home/of/nobody"},
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "ended --x\n")
    said = done.stderr.splitlines()
    assert said[0].endswith(
        "what broke at step 5 is not known; running the script again up to there"
    )
    (fault, *_) = json.loads((tmp_path / "run" / "run.json").read_text())["faults"]
    assert (fault["how"], fault["where"]["line"]) == ("rewound", 13)
    findings = json.loads((tmp_path / "run" / "findings.json").read_text())
    told = next(each for each in findings if each["code"] == "HW301")
    assert told["where"][0]["line"] == 13
