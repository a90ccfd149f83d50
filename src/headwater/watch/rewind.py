"""Running a script once more, up to the step that broke, to look at it as it runs.

For faults whose producer could not be told within the run: the step's values were gone, or were on
a device. The second run is a process of its own, with the words, the directory, the environment
and the random states of the first; it ends at the fault, and what it prints goes nowhere. What the
script does besides, such as writing a checkpoint, it does again.

Nothing at the top of this file imports torch: the script must be the first to.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.watch.arrival import when_imported
from headwater.watch.launcher import Target, launch
from headwater.watch.options import Options

if TYPE_CHECKING:
    from headwater.records import Fault
    from headwater.runs.reader import Run
    from headwater.watch.live import Answer

SURE = 0.5
"""From this confidence on a producer is known, and nothing is run again for it."""

_LIVE, _OTHER_COURSE = 0.95, 0.8
"""Confidence in what was seen live, where the losses up to there were the first run's, and where
they were not: the script's numbers are then other ones, and may break elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """The random states that a script found when it had imported torch."""

    pythons: Any
    numpys: Any
    torchs: Any

    @classmethod
    def now(cls) -> Beginning:
        """Return the states as they are; torch must be there."""
        import numpy as np
        import torch

        return cls(
            pythons=random.getstate(),
            numpys=np.random.get_state(),
            torchs=torch.get_rng_state().numpy().tobytes(),
        )

    def restore(self) -> None:
        """Make them that again."""
        import numpy as np
        import torch

        random.setstate(self.pythons)
        np.random.set_state(self.numpys)
        torch.set_rng_state(torch.frombuffer(bytearray(self.torchs), dtype=torch.uint8))


# ---------------------------------------------------------------- in the first process


def step_to_look_at(run: Run) -> int | None:
    """Return the step at which a run broke, None where it did not or its producer is known."""
    faults = run.info.faults
    if any(fault.confidence >= SURE for fault in faults):
        return None
    steps = [fault.step for fault in faults]
    for name in ("loss", "total_norm"):
        pairs = zip(run.pulse["step"].to_pylist(), run.pulse[name].to_pylist(), strict=True)
        skipped = run.pulse["skipped"].to_pylist()
        bad = [
            step
            for (step, value), skip in zip(pairs, skipped, strict=True)
            if value is not None and value - value != 0 and not skip
        ]
        steps += bad[:1]
    return min(steps, default=None)


def look_again(
    run: Run,
    step: int,
    *,
    target: Target,
    beginning: Beginning,
    start: Path,
    environ: Mapping[str, str],
) -> Fault:
    """Run the script again and return what it showed of ``step``.

    Args:
        run: The first run's record.
        step: Where it broke; the step before is looked at, too, as a gradient that broke there
            may have been seen only now.
        target: The script and its words.
        beginning: The random states it began with.
        start: The directory it began in.
        environ: The environment it began with.

    Raises:
        OSError: The second process cannot be started.
    """
    with tempfile.TemporaryDirectory(prefix="headwater-") as name:
        folder = Path(name)
        (folder / "beginning").write_bytes(pickle.dumps(beginning))
        (folder / "task.json").write_text(
            json.dumps({"target": asdict(target), "first": max(0, step - 1), "last": step})
        )
        _run(folder, start, environ)
        path = folder / "answer.json"
        told = json.loads(path.read_text()) if path.exists() else {}
    return _judged(run, step, told)


def _run(folder: Path, start: Path, environ: Mapping[str, str]) -> None:
    flags = vars(subprocess)["_args_from_interpreter_flags"]()
    subprocess.run(
        [sys.executable, *flags, "-m", "headwater.watch.rewind", str(folder)],
        cwd=start,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )


def _judged(run: Run, step: int, told: Mapping[str, Any]) -> Fault:
    """Return the second run's fault, with how far its losses were those of the first."""
    from headwater.records import Fault
    from headwater.runs.info import RunInfo

    first = next(iter(run.info.faults), Fault(step=step, seen_in="loss"))
    if not told.get("fault"):
        why = told.get("why") or "the second run ended before it got there"
        return replace(first, how="rewound", reproduced=False, confidence=0.0, note=why)
    (fault,) = RunInfo.from_json({"faults": [told["fault"]]}).faults
    other = _first_other(
        run, {int(key): value for key, value in told["losses"].items()}, fault.step
    )
    if other is None:
        note = "seen live in a second run of the script, whose losses were those of the first"
        return replace(fault, note=note, confidence=min(fault.confidence, _LIVE))
    note = (
        f"seen live in a second run of the script, whose losses differ from step {other} on: "
        "seed torch, random and numpy for the same numbers"
    )
    same_step = fault.step == step
    confidence = min(fault.confidence, _OTHER_COURSE)
    return replace(fault, note=note, confidence=confidence, reproduced=same_step)


def _first_other(run: Run, losses: Mapping[int, float], until: int) -> int | None:
    """Return the first step before ``until`` at which the two runs' losses differ."""
    steps, ours = run.pulse["step"].to_pylist(), run.pulse["loss"].to_pylist()
    for step, loss in zip(steps, ours, strict=True):
        again = losses.get(step)
        if step < until and loss is not None and again is not None and not _alike(loss, again):
            return int(step)
    return None


def _alike(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


# ---------------------------------------------------------------- in the second process


def main(words: Sequence[str]) -> int:
    """Run the script of the task in the folder ``words[0]``; ends in the middle of it."""
    folder = Path(words[0])
    task = json.loads((folder / "task.json").read_text())
    named = task["target"]
    target = Target(name=named["name"], arguments=tuple(named["arguments"]), module=named["module"])
    lives: list[Any] = []

    def begin() -> None:
        lives.append(_watch(folder, target, task["first"], task["last"]))

    def end(code: int, exception: str | None) -> int:
        for live in lives:
            live.give_up(f"the second run ended ({exception or code}) before it broke")
        return code

    with when_imported("torch", begin):
        return launch(target, end)


def _watch(folder: Path, target: Target, first: int, last: int) -> Any:
    from headwater.watch.live import Live
    from headwater.watch.names import Names
    from headwater.watch.observation import Observation

    made: list[Live] = []

    def live(names: Names) -> Live:
        made.append(
            Live(names, first=first, last=last, hand_in=lambda answer: _hand_in(folder, answer))
        )
        return made[0]

    observation = Observation(
        folder / "run",
        options=Options(overhead=0.0),
        command=target.words,
        script=getattr(sys.modules["__main__"], "__file__", None),
        faults=live,
    )
    pickle.loads((folder / "beginning").read_bytes()).restore()
    observation.start()
    return made[0]


def _hand_in(folder: Path, answer: Answer) -> None:
    """Write the answer and end the process at once: nothing of the script is to go on."""
    from headwater.runs.info import plain

    data = {
        "fault": None if answer.fault is None else plain(asdict(answer.fault)),
        "losses": {str(step): loss for step, loss in answer.losses.items()},
        "why": answer.why,
    }
    draft = folder / "answer.draft"
    draft.write_text(json.dumps(data))
    draft.replace(folder / "answer.json")
    os._exit(0)


if __name__ == "__main__":
    # By its own name, so that what was pickled under it is found.
    sys.exit(import_module("headwater.watch.rewind").main(sys.argv[1:]))
