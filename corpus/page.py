"""`docs/accuracy.md`, from the figures of the last scoring."""

from __future__ import annotations

from collections.abc import Sequence

from corpus.cases import all_cases
from corpus.judging import LEARNT_LESS, PROGRESS
from corpus.peers import LOUD, known_figures, left_out, rules, tools
from corpus.scoring import (
    Score,
    by_fault,
    by_rule,
    confusion,
    false_lines,
    headline,
    missed_lines,
    reliability,
)
from headwater.rules import RULES

_INTRODUCTION = """# How often the rules are right

`make score` writes this page; do not edit it. Every figure is from the half `score` of the corpus
({cases} of {all} short trainings; the other half, `tune`, is where thresholds may be looked at).
Intervals are Wilson's, 95 %.

A case is a training of {least} to {most} optimiser steps, recorded with every eighth step sampled.
It is labelled by what was injected and by what happened: a fault *did harm* where the network
learnt under {harm:.0%} of what its healthy twin did, or where it is a fault whatever is learnt
(parameters that no optimiser holds, a detached graph, a softmax too many). A training counts as
healthy where nothing was injected and it learnt {progress:.0%} of its twin's or more.
{harmless} trainings whose fault did no harm, and {unclear} without a fault that learnt less, count
for neither.

An alarm is a finding of level warning or error, at the end of the training unless said otherwise;
it *detects* a fault if its code is one that the fault can show as. The causes told are ranked by
severity, then by confidence times share; causes that name another symptom are left out, as that
symptom's finding carries its own. Line and layer are right where the place named first is. First
alarms are found by judging the record cut after 5, 10, 20, 40 and 70 % of the training.

Each cause that a rule can tell is right of some fault that is injected. Attention that is one-hot
from the start harms no task here. Weights whose `requires_grad` is off by mistake look as those
that are frozen on purpose do: they are told as information, and as a warning where the loss stands
still, or is high and no matrix learns.
"""

_PEERS = """## Peers on the same trainings

Rules of other tools, re-stated from their documents and sources as functions of the same records
(`benchmarks/peers/`, where each threshold has its source, and each rule says what the record lacks
and in whose favour that errs). They look at one training as a user would run it; what they do by
trainings of their own, with validation data or with labels is left out. The tables are as generous
to them as can be: an alarm of theirs counts as detection whenever it was given, also if it ceased,
and if it has any relation to the fault; a cause counts if any of theirs is right, where Headwater's
has to be the first. A line more is each tool without the rules that speak on over {loud:.0%} of
these very healthy trainings, which nobody can know beforehand. None of them names lines.
Whoever alarms on nearly every training detects nearly every fault: hold the first column against
the third, as the line on Youden's J below the table does.
UMLAUT warns wherever an input is beyond 1; the record knows their root mean square only, so that
here it is silent where that is not.
"""


def page(found: Score) -> str:
    """Return the page's text."""
    every = [*found.harmed, *found.healthy, *found.harmless, *found.unclear]
    steps = [one.case.recipe.steps * (2 if one.case.recipe.network == "gan" else 1)
             for one in every]  # fmt: skip
    introduction = _INTRODUCTION.format(
        cases=len(every), all=len(all_cases()), harm=LEARNT_LESS, progress=PROGRESS,
        least=min(steps), most=max(steps), harmless=len(found.harmless),
        unclear=len(found.unclear),
    )  # fmt: skip
    wanted = [[what, target, value] for what, target, value in headline(found)]
    codes = list(RULES)
    parts = [
        introduction,
        _table(("what", "wanted", "measured"), wanted),
        "## By rule\n\nOf the harmful faults that can show as it; of the healthy trainings; of the "
        "other harmful faults,\nwhere the symptom may be there all the same.",
        _table(("rule", "detects", "false alarms", "alarms on other faults"), by_rule(found)),
        "## By fault",
        _table(
            (
                "fault",
                "detected",
                "cause first",
                "among two",
                "line",
                "layer",
                "first alarm",
                "told first",
            ),
            by_fault(found),
        ),
        "## What is told of what\n\nCases in which each code gave an alarm; one case can have "
        "several.",
        _table(("injected", "cases", *codes, "silent"), confusion(found)),
        "## How sure is sure\n\nOf the alarms told with a confidence, those that fit a fault that "
        "did harm.",
        _table(("confidence", "fits"), reliability(found)),
        *_peers(found),
        "## Missed, and why\n\nEach harmful case without a fitting alarm, what it learnt of its "
        "twin's, and the words of the rules\nthat could have spoken.",
        _list(missed_lines(found)),
        "## Healthy, and alarmed all the same",
        _list(false_lines(found)),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _peers(found: Score) -> list[str]:
    head = (
        "tool", "related alarm", "any alarm", "healthy alarmed", "cause right", "line right",
        "first alarm",
    )  # fmt: skip
    return [
        _PEERS.format(loud=LOUD),
        _table(head, tools(found.harmed, found.healthy)),
        "What they are known for, on this corpus:",
        _list(known_figures(found.harmed, found.healthy)),
        "Each rule, of the harmful faults that it is related to, and of the healthy trainings:",
        _table(("rule", "detects", "false alarms"), rules(found.harmed, found.healthy)),
        _list(left_out()),
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell for cell in line) + " |" for line in lines)


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines) or "None."
