"""Train and record every case once; `make corpus` calls it, and a second call goes on.

    python -m corpus.recording [--split tune|score] [--every-nth N] [--only TEXT]

A record is a folder of `corpus-runs/`, complete once `outcome.json` stands in it. One process
records them all, so that torch starts once.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
import warnings
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import torch

import headwater
from corpus.cases import Case, all_cases
from corpus.training import Outcome, layer_names, train

FOLDER = Path(__file__).parent.parent / "corpus-runs"

EVERY = 8
"""Every eighth step is sampled whatever it costs: a budget in seconds would make the record of a
training of half a second depend on what else the machine does."""


def folder_of(case: Case) -> Path:
    """Return where a case's record is kept."""
    return FOLDER / case.name.replace("/", "--")


def record(case: Case) -> Outcome:
    """Train one case and keep its record, and what became of it."""
    folder = folder_of(case)
    shutil.rmtree(folder, ignore_errors=True)

    def watch() -> headwater.watch:
        return headwater.watch(out=folder, overhead=1.0, every=EVERY)

    outcome = train(case.recipe, case.seed, watch)
    kept = {**asdict(outcome), "recipe": case.recipe.choices, "layers": layer_names(case.recipe)}
    (folder / "outcome.json").write_text(json.dumps(kept))
    return outcome


def outdated(case: Case) -> bool:
    """Say whether a case has no whole record, or one of another recipe."""
    try:
        kept = json.loads((folder_of(case) / "outcome.json").read_text())
    except FileNotFoundError:
        return True
    return bool(kept["recipe"] != case.recipe.choices)


def record_all(cases: Iterable[Case]) -> int:
    """Record what is not recorded yet; a line a minute on stderr."""
    waiting = [case for case in cases if outdated(case)]
    start = said = time.monotonic()
    for number, case in enumerate(waiting):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's advice to a faulty script is no news here
            record(case)
        now = time.monotonic()
        if now - said > 60 or number + 1 == len(waiting):
            said = now
            print(f"{number + 1} of {len(waiting)} cases, {now - start:.0f} s", file=sys.stderr)
    return len(waiting)


def main() -> None:
    """Record the corpus, or every nth case of it together with the twins."""
    parser = argparse.ArgumentParser(description="record the corpus")
    parser.add_argument("--every-nth", type=int, default=1)
    parser.add_argument("--only", default="", help="a part of the names")
    parser.add_argument("--split", choices=("tune", "score"), help="one half; both if left out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cases = [
        case
        for case in all_cases().values()
        if options.only in case.name and options.split in (None, case.split)
    ]
    chosen = {case.name: case for case in cases[:: options.every_nth]}
    twins = {case.twin: all_cases()[case.twin] for case in chosen.values()}
    record_all({**twins, **chosen}.values())


if __name__ == "__main__":
    main()
