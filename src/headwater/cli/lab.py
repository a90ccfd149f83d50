"""``headwater lab``: the experiments, and what they find."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.errors import UsageError

if TYPE_CHECKING:
    from headwater.lab.experiment import Experiment
    from headwater.lab.runner import Outcome
    from headwater.lab.workers import Workers

MARKS = {"holds": "✓", "does not hold": "✗", "cannot say": "?"}


def add_arguments(parser: ArgumentParser, /) -> None:
    """Declare the command's options."""
    parser.add_argument("action", choices=("list", "run"), help="show the claims, or test some")
    parser.add_argument("names", metavar="NAME", nargs="*", help="an experiment; all for every one")
    parser.add_argument(
        "--seeds", type=_count, metavar="N", help="seeds to measure; else each experiment's own"
    )
    parser.add_argument(
        "--epochs", type=_count, metavar="N", help="epochs to train, where it trains by epochs"
    )
    parser.add_argument(
        "--seed-offset", type=_offset, default=0, metavar="N", help="the first seed (default 0)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where results go (default: headwater-lab)"
    )
    parser.add_argument(
        "--jobs", type=_count, default=1, metavar="N", help="processes that measure (default 1)"
    )
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="measure on a Ray cluster; without an address on this machine",
    )
    parser.add_argument("--json", action="store_true", help="claims or verdicts as JSON")


def run(arguments: Namespace, /) -> int:
    """List the experiments, or run some and print their verdicts."""
    from headwater.lab.experiments import EXPERIMENTS, find_experiment

    if arguments.action == "list":
        if arguments.names:
            raise UsageError(f"lab list takes no names, got {' '.join(arguments.names)!r}")
        _list(list(EXPERIMENTS.values()), as_json=arguments.json)
        return 0
    if not arguments.names:
        raise UsageError("lab run got no name; name some of `headwater lab list`, or all")
    names = list(EXPERIMENTS) if arguments.names == ["all"] else arguments.names
    chosen = [find_experiment(name) for name in dict.fromkeys(names)]
    outcomes = []
    for outcome in _outcomes(chosen, arguments):
        outcomes.append(outcome)
        if not arguments.json:
            print("\n".join(verdict_lines(outcome)), flush=True)
    if arguments.json:
        print(json.dumps([outcome.to_json() for outcome in outcomes], indent=2))
    return 0


def verdict_lines(outcome: Outcome) -> list[str]:
    """Return the verdict in lines: the answer, the claim, each assertion with its interval."""
    one = outcome.experiment
    seeds = "exact" if one.exact else f"seeds {outcome.seeds.start} to {outcome.seeds.stop - 1}"
    lines = [f"{one.name}: {outcome.verdict.answer} ({seeds})", f"  {one.claim}"]
    width = max(len(judged.assertion.says) for judged in outcome.verdict.judgements)
    for judged in outcome.verdict.judgements:
        band = f"{judged.assertion.low:.4g} to {judged.assertion.high:.4g}"
        words = f"{judged.assertion.says:{width}}  {judged.estimate}; band {band}"
        lines.append(f"  {MARKS[judged.answer]} {words}")
    return [*lines, f"  {outcome.folder}", ""]


def _list(experiments: list[Experiment[Any]], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([{"name": one.name, "claim": one.claim} for one in experiments], indent=2))
        return
    width = max(len(one.name) for one in experiments)
    for one in experiments:
        print(f"{one.name:{width}}  {one.claim}")


def _outcomes(chosen: list[Experiment[Any]], arguments: Namespace) -> Iterator[Outcome]:
    from headwater.lab.runner import OUT
    from headwater.lab.runner import run as run_experiment

    workers = _workers(arguments)
    with _progress() as told:
        for one in chosen:
            yield run_experiment(
                one if arguments.epochs is None else _retimed(one, arguments.epochs, chosen),
                seeds=arguments.seeds,
                offset=arguments.seed_offset,
                out=arguments.out or OUT,
                workers=workers,
                told=told(one.name),
            )


def _retimed(one: Experiment[Any], epochs: int, chosen: list[Experiment[Any]]) -> Experiment[Any]:
    if one.epochs is not None:
        return one.changed(epochs=epochs)
    if len(chosen) == 1:
        raise UsageError(f"{one.name} does not train by epochs; leave --epochs out")
    return one


def _workers(arguments: Namespace) -> Workers:
    from headwater.lab.workers import Here, Processes, Ray

    if arguments.ray is not None:
        return Ray(arguments.ray)
    return Processes(jobs=arguments.jobs) if arguments.jobs > 1 else Here()


Told = Callable[[int, int], None]


@contextmanager
def _progress() -> Iterator[Callable[[str], Told | None]]:
    """A bar on stderr where somebody watches it, and nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _name: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeElapsedColumn as Elapsed

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Elapsed())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:

        def start(name: str) -> Told:
            task = bar.add_task(name, total=None)
            return lambda done, total: bar.update(task, completed=done, total=total)

        yield start


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise ArgumentTypeError(f"it takes a whole number from 1 to 1000000, got {text!r}")
    return int(text)


def _offset(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**31:
        raise ArgumentTypeError(f"it takes a whole number from 0 to 2147483647, got {text!r}")
    return int(text)
