"""Pages of the gallery: the claim, the picture, the table, what was found, what is fragile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headwater.lab.claims import Judgement
from headwater.lab.experiment import Experiment
from headwater.lab.intervals import Estimate
from headwater.lab.runner import Outcome, draw

MARKS = {"holds": "holds", "does not hold": "**does not hold**", "cannot say": "*cannot say*"}


def write_gallery(outcomes: Sequence[Outcome], folder: Path) -> list[Path]:
    """Write a page and two pictures an experiment, and a list of all; return the pages.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pages = []
    for outcome in outcomes:
        draw(outcome, folder)
        path = folder / f"{outcome.experiment.name}.md"
        path.write_text(page(outcome), encoding="utf-8")
        pages.append(path)
    (folder / "README.md").write_text(index(outcomes), encoding="utf-8")
    return pages


def page(outcome: Outcome) -> str:
    """Return an experiment's page as Markdown."""
    one = outcome.experiment
    seeds = f"seeds {outcome.seeds.start} to {outcome.seeds.stop - 1}"
    how = "nothing in it is random" if one.exact else seeds
    parts = [
        f"# {one.name}",
        f"> {one.claim}",
        f"{outcome.verdict.answer.capitalize()} ({how}). Made by `{command(outcome)}`.",
        picture(one),
        "## What was found",
        one.found(outcome.tables),
        "## What would refute it",
        table(outcome.verdict.judgements),
        "## What the literature said",
        one.literature,
        "## What is fragile",
        one.fragile,
        "[All experiments](README.md)",
    ]
    return "\n\n".join(parts) + "\n"


def index(outcomes: Sequence[Outcome]) -> str:
    """Return the gallery's list of experiments as Markdown."""
    rows = [
        f"| [{one.experiment.name}]({one.experiment.name}.md) | {one.experiment.claim} "
        f"| {MARKS[one.verdict.answer]} |"
        for one in outcomes
    ]
    return "\n".join(
        [
            "# The gallery",
            "",
            "The classic experiments on gradients that vanish and explode, each a claim that its "
            "own assertions can refute, over many seeds. `make gallery` makes these pages; "
            "`headwater lab run NAME` repeats one with seeds of your own.",
            "",
            "| experiment | claim | verdict |",
            "| --- | --- | --- |",
            *rows,
            "",
            "A band is what a sound measurement gives for any sixty seeds. *Holds*: all estimates "
            "lie in their bands. *Does not hold*: of at least one the whole 95 % interval lies "
            "outside. *Cannot say*: anything else.",
            "",
        ]
    )


def picture(experiment: Experiment[object]) -> str:
    """Return the picture, in the variant that fits the reader's page."""
    name = experiment.name
    return "\n".join(
        [
            "<picture>",
            f'  <source media="(prefers-color-scheme: dark)" srcset="{name}-dark.png">',
            f'  <img alt="{name}" src="{name}-light.png">',
            "</picture>",
        ]
    )


def table(judgements: Sequence[Judgement]) -> str:
    """Return the assertions with what was measured, the interval and the band."""
    rows = ["| assertion | measured | 95 % interval | band | |", "| --- | --- | --- | --- | --- |"]
    for one in judgements:
        says = one.assertion.says.replace("|", "\\|")
        band = f"{one.assertion.low:.4g} to {one.assertion.high:.4g}"
        rows.append(
            f"| {says} | {one.estimate.value:.4g} | {interval(one.estimate)} | {band} "
            f"| {MARKS[one.answer]} |"
        )
    return "\n".join(rows)


def interval(estimate: Estimate) -> str:
    """Return an interval in words; what is exact has none.

    Example:
        >>> interval(Estimate(value=0.5, low=0.25, high=0.75, count=10))
        '0.25 to 0.75'
    """
    if estimate.low == estimate.high:
        return "exact"
    return f"{estimate.low:.3g} to {estimate.high:.3g}"


def command(outcome: Outcome) -> str:
    """Return the command that repeats the experiment."""
    one = outcome.experiment
    words = f"headwater lab run {one.name}"
    if not one.exact:
        words += f" --seeds {len(outcome.seeds)}"
    if not one.exact and outcome.seeds.start:
        words += f" --seed-offset {outcome.seeds.start}"
    return words
