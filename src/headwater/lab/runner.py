"""Running an experiment: its seeds in blocks, each kept when it is done, then the verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from headwater import __version__
from headwater.errors import ResultsNotKeptError, UsageError
from headwater.lab.claims import Verdict
from headwater.lab.experiment import Experiment
from headwater.lab.pictures import save_pictures
from headwater.lab.results import Store
from headwater.lab.rows import Tables, joined_tables
from headwater.lab.workers import Here, Task, WorkerDiedError, Workers

OUT = Path("headwater-lab")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of an experiment.

    Attributes:
        experiment: With the settings under which it ran.
        seeds: Measured; ``range(0, 1)`` for an exact one.
        tables: What was measured, in the order of the seeds.
        verdict: On the claim.
        folder: Where tables, verdict and pictures lie.
        resumed: Blocks that an earlier run had left.
    """

    experiment: Experiment[Any]
    seeds: range
    tables: Tables
    verdict: Verdict
    folder: Path
    resumed: int

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data, without the tables."""
        return {
            "name": self.experiment.name,
            "claim": self.experiment.claim,
            "answer": self.verdict.answer,
            "seeds": None if self.experiment.exact else [self.seeds.start, self.seeds.stop],
            "settings": asdict(self.experiment.settings),
            "assertions": [one.to_json() for one in self.verdict.judgements],
            "headwater": __version__,
            "folder": str(self.folder),
        }


def run(
    experiment: Experiment[Any],
    *,
    seeds: int | None = None,
    offset: int = 0,
    out: Path = OUT,
    workers: Workers | None = None,
    told: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Measure the experiment, keep what it measured, judge and draw it.

    Blocks that an earlier run under the same settings has left in ``out`` are not measured again.

    Args:
        experiment: One of ``headwater.lab.experiments.EXPERIMENTS``, or one changed.
        seeds: How many; else the experiment's own number.
        offset: The first seed.
        out: The folder of all results.
        workers: Who measures; else this process.
        told: Called with the blocks done and all blocks, after each.

    Raises:
        UsageError: No seeds, or a library is missing.
        ResultsNotKeptError: The disk is full or a worker died; finished blocks are kept.
    """
    span = _span(experiment, seeds, offset)
    blocks = list(_blocks(span, experiment.block))
    store = Store(out, experiment)
    done = {block: tables for block in blocks if (tables := store.load(block)) is not None}
    resumed = len(done)
    try:
        for block, tables in _measured(experiment, [b for b in blocks if b not in done], workers):
            store.keep(block, tables)
            done[block] = tables
            if told is not None:
                told(len(done), len(blocks))
        whole = joined_tables([done[block] for block in blocks])
        return _finished(experiment, span, whole, store, resumed)
    except (OSError, WorkerDiedError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ResultsNotKeptError(
            experiment.name, why, kept=len(done), blocks=len(blocks)
        ) from error


def _finished(
    experiment: Experiment[Any], span: range, whole: Tables, store: Store, resumed: int
) -> Outcome:
    outcome = Outcome(
        experiment=experiment,
        seeds=span,
        tables=whole,
        verdict=experiment.judge(whole),
        folder=store.folder,
        resumed=resumed,
    )
    store.finish(whole, outcome.to_json())
    draw(outcome, store.folder)
    return outcome


def draw(outcome: Outcome, folder: Path) -> list[Path]:
    """Draw the outcome's picture into a folder, light and dark.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: It cannot be written.
    """
    one = outcome.experiment
    return save_pictures(
        lambda figure, style: one.draw(outcome.tables, figure, style), folder, one.name, one.size
    )


def _span(experiment: Experiment[Any], seeds: int | None, offset: int) -> range:
    count = experiment.seeds if seeds is None else seeds
    if count < 1 or offset < 0:
        raise UsageError(
            f"{experiment.name} got {count} seeds from {offset} on; "
            "it takes at least one, from 0 or later"
        )
    return range(1) if experiment.exact else range(offset, offset + count)


def _blocks(span: range, size: int) -> Iterator[range]:
    # Cut where multiples of the size lie, so that more seeds or another offset find old blocks.
    start = span.start
    while start < span.stop:
        stop = min(span.stop, (start // size + 1) * size)
        yield range(start, stop)
        start = stop


def _measured(
    experiment: Experiment[Any], blocks: list[range], workers: Workers | None
) -> Iterator[tuple[range, Tables]]:
    tasks = [
        Task(measure=experiment.measure, settings=experiment.settings, block=block)
        for block in blocks
    ]
    if not tasks:
        return
    results = (workers or Here()).results(tasks)
    with closing(results):  # type: ignore[type-var]
        yield from results
