"""``headwater demo``: a network that does not learn, what is wrong, and the same one healthy.

Both trainings run as ``headwater run`` runs any script, each in a process of its own; all that is
shown is read from their records and their output.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.errors import UsageError

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.text import Text

    from headwater.records import Verdict
    from headwater.runs.reader import Run

SCRIPT = "headwater.demo.two_circles"
EPOCHS = 300
LEARNS = 0.75
"""Test accuracy from which on the network is said to learn; guessing gives 0.5, and no
classifier of these noisy circles can reach more than about 0.86."""

WEIGHTS = {"uniform": "all weights from U[0, 1]", "xavier": "Xavier weights"}

INTRODUCTION = """\
Two noisy circles, one inside the other: which one is a point on? Five hidden \
layers of five tanh units are trained to tell, twice."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """One of the two trainings: its record, and the accuracies its script printed."""

    weights: str
    run: Run
    verdicts: tuple[Verdict, ...]
    train_accuracy: float
    test_accuracy: float

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "run": str(self.run.path),
            "weights": self.weights,
            "train_accuracy": self.train_accuracy,
            "test_accuracy": self.test_accuracy,
            "findings": [f.to_json() for verdict in self.verdicts for f in verdict.findings],
        }


def add_arguments(parser: ArgumentParser, /) -> None:
    """Declare the command's options."""
    parser.add_argument("--json", action="store_true", help="accuracies and findings as JSON")


def run(arguments: Namespace, /) -> int:
    """Train twice under observation, and say what was found."""
    with _progress() as progress:
        trainings = [_train(weights, progress) for weights in WEIGHTS]
    if arguments.json:
        from headwater.runs.info import plain

        print(json.dumps(plain([training.to_json() for training in trainings]), indent=2))
        return 0
    from headwater.reports.output import rendered, screen_width

    lines = _story(trainings, screen_width(sys.stdout))
    sys.stdout.write(rendered(lines, color="auto", file=sys.stdout))
    return 0


# ---------------------------------------------------------------- training


def _progress() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description:24}"),
        BarColumn(),
        TextColumn("epoch {task.completed}/{task.total}  {task.fields[loss]}"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def _train(weights: str, progress: Progress) -> Training:
    from headwater.rules import judge
    from headwater.runs.reader import Run

    folder = _folder(weights)
    command = [sys.executable, "-m", "headwater", "run", "--quiet", "--out", str(folder)]
    command += ["-m", SCRIPT, "--init", weights, "--epochs", str(EPOCHS)]
    task = progress.add_task(WEIGHTS[weights], total=EPOCHS, loss="")
    said = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for said in process.stdout:
            if epoch := re.match(r"epoch +(\d+) +(loss \S+)", said):
                progress.update(task, completed=int(epoch[1]), loss=epoch[2])
    accuracies = re.fullmatch(r"train accuracy (\S+) +test accuracy (\S+)\n", said)
    if process.returncode or accuracies is None:
        raise RuntimeError(
            f"the demo's training ended with exit code {process.returncode} and {said!r}; "
            f"see what `python -m {SCRIPT}` says"
        )
    record = Run.open(folder)
    return Training(
        weights=weights,
        run=record,
        verdicts=judge(record),
        train_accuracy=float(accuracies[1]),
        test_accuracy=float(accuracies[2]),
    )


def _folder(weights: str) -> Path:
    """Make the folder of a record, so that what forbids it is said before the training."""
    from datetime import datetime

    from headwater.watch.folder import run_folder

    folder = run_folder(Path.cwd(), f"demo-{weights}", {}, datetime.now())
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise UsageError(
            f"cannot make {str(folder)!r} ({error.strerror}); start the demo in a folder where "
            "its records can be written"
        ) from None
    return folder


# ---------------------------------------------------------------- telling


def _story(trainings: Iterable[Training], width: int) -> Iterator[Text]:
    from rich.text import Text

    from headwater.reports.cells import paragraph

    yield from paragraph(INTRODUCTION, width)
    summary = []
    for number, training in enumerate(trainings, start=1):
        yield Text()
        yield Text(f"{number}. {WEIGHTS[training.weights]} ".ljust(width, "─"), style="bold")
        yield from _told(training, width)
        summary.append(f"{training.test_accuracy:.3f} with {WEIGHTS[training.weights]}")
    yield Text()
    yield Text("".ljust(width, "─"), style="bold")
    yield from paragraph(
        f"Test accuracy after {EPOCHS} epochs: {', '.join(summary)}; data, network and optimiser "
        "are the same.",
        width,
    )


def _told(training: Training, width: int) -> Iterator[Text]:
    import os
    import time

    from rich.text import Text

    from headwater.reports.annotate import home_folders
    from headwater.reports.assemble import assemble
    from headwater.reports.cells import paragraph
    from headwater.reports.screen import head_lines, report_lines, verdict_lines

    learns = training.test_accuracy > LEARNS
    yield from paragraph(
        f"{'It learns' if learns else 'It does not learn'}: accuracy {training.train_accuracy:.3f} "
        f"in training, {training.test_accuracy:.3f} on new points.",
        width,
        style="green" if learns else "red",
    )
    yield Text()
    report = assemble(training.run, training.verdicts, now=time.time())
    folders = home_folders(training.run.info)
    if any(verdict.answer == "wrong" for verdict in training.verdicts):
        yield from report_lines(report, width, folders, formats=False)
    else:  # the source of a healthy network has nothing to point at
        yield from head_lines(report.head, width)
        yield Text()
        yield from verdict_lines(report.verdicts, width, folders)
    yield Text()
    yield Text(f"headwater show {os.path.relpath(training.run.path)}", style="dim")
