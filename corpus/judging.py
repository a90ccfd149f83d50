"""What the rules say of every recorded case, at its end and had it ended earlier."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.peers import Heard
from benchmarks.peers import judge as peers_judge

from corpus.cases import Case
from corpus.cutting import Cut
from corpus.recording import folder_of, outdated
from headwater.records import Finding, Where
from headwater.rules import judge
from headwater.runs.reader import Run

CUTS = (0.05, 0.1, 0.2, 0.4, 0.7)
"""Parts of a training after which it is judged, besides its end."""

LEARNT_LESS = 0.8
"""A fault did harm where the network learnt under four fifths of what its healthy twin did."""

PROGRESS = 0.5
"""A healthy training that is slow by design has learnt half of what its twin did, or more."""

_SYMPTOMS = frozenset({
    "vanishing-gradient", "exploding-gradient", "saturation", "dead-units", "vanishing",
})  # fmt: skip
"""Causes that name another symptom: the finding of that symptom has the cause of it."""


@dataclass(frozen=True, kw_only=True)
class Became:
    """What became of one case, which is half of its label; the other is what was injected."""

    case: Case
    learnt: float
    twin_learnt: float

    @property
    def share_learnt(self) -> float:
        """What it learnt of what its twin did."""
        return self.learnt / self.twin_learnt if self.twin_learnt > 0 else 1.0

    @property
    def healthy(self) -> bool:
        """Nothing was injected, and it made progress."""
        return not self.case.faults and self.share_learnt >= PROGRESS

    @property
    def harmed(self) -> bool:
        """A fault was injected, and it did harm."""
        factual = any(fault.factual for fault in self.case.injected)
        return bool(self.case.faults) and (factual or self.share_learnt < LEARNT_LESS)

    @property
    def codes(self) -> frozenset[str]:
        """The symptoms that its faults can show as."""
        return frozenset[str]().union(*(fault.codes for fault in self.case.injected))


@dataclass(frozen=True, kw_only=True)
class Judged(Became):
    """One case: what became of it, what was said of it, and when first.

    ``alarms`` are the findings of level warning or error, most severe and sure first; ``early``
    has for each of ``CUTS`` the codes of the alarms there; ``reasons`` each rule's own words,
    ``lines`` those that carry a mark of the faults, empty where they have none; ``peers`` what
    other tools say of the same record.
    """

    alarms: Sequence[Finding]
    early: Sequence[frozenset[str]]
    reasons: Mapping[str, str]
    layers: Sequence[str]
    lines: frozenset[tuple[str, int]]
    peers: Heard | None = None

    @property
    def told(self) -> Finding | None:
        """The first alarm that fits a fault that was injected."""
        return next((one for one in self.alarms if one.code in self.codes), None)

    @property
    def causes(self) -> Sequence[str]:
        """The causes told, by their findings' severity, then by confidence times share."""
        told = [
            (one.severity != "error", -one.confidence * cause.share, cause.cause)
            for one in self.alarms
            for cause in one.causes
        ]
        names = [name for *_, name in sorted(told)]
        return [*dict.fromkeys(name for name in names if name not in _SYMPTOMS)]

    def cause_right(self, among: int) -> bool:
        """Say whether a cause that was injected is among the first told."""
        right = frozenset[str]().union(*(fault.causes for fault in self.case.injected))
        return bool(right & set(self.causes[:among]))

    @property
    def first_alarm(self) -> float | None:
        """The part of the training after which a fitting alarm stood, for good or not."""
        if self.told is None:
            return None
        return next(
            (cut for cut, codes in zip(CUTS, self.early, strict=True) if codes & self.codes), 1.0
        )

    @property
    def line_right(self) -> bool | None:
        """Whether the place named first is the fault's; None where it has no line or no alarm.

        Of two faults, the one that the alarm fits is meant.
        """
        if not self.lines or self.told is None:
            return None
        fitting = [fault for fault in self.case.injected if self.told.code in fault.codes]
        if not any(fault.sites for fault in fitting):
            return None
        return bool(self.told.where) and _line(self.told.where[0]) in self.lines

    @property
    def layer_right(self) -> bool | None:
        """Whether the layer named first is the fault's; None where all layers have it."""
        at = self._layers_at_fault
        if not at or self.told is None:
            return None
        return bool(self.told.where) and self.told.where[0].module in at

    @property
    def _layers_at_fault(self) -> frozenset[str]:
        recipe = self.case.recipe
        if len(self.case.faults) != 1 or not self.layers:
            return frozenset()
        if recipe.layer is not None:
            return frozenset(self.layers[recipe.layer : recipe.layer + 1])
        if recipe.detach_at is not None and recipe.network in {"mlp", "cnn", "autoencoder"}:
            return frozenset(self.layers[: recipe.detach_at + 1])
        return frozenset()


def what_became(case: Case) -> Became:
    """Return what became of a recorded case, whose twin is recorded too."""
    learnt, twin = (_outcome(name)["learnt"] for name in (case.name, case.twin))
    return Became(case=case, learnt=learnt, twin_learnt=twin)


def judge_all(cases: Iterable[Case]) -> list[Judged]:
    """Judge the recorded cases among ``cases``, in as many processes as there are cores."""
    recorded = [case for case in cases if not outdated(case)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(judge_one, recorded, chunksize=8))


def judge_one(case: Case) -> Judged:
    """Judge one recorded case, whose twin is recorded too."""
    run = Run.open(folder_of(case))
    verdicts = judge(run)
    found = [one for verdict in verdicts for one in verdict.findings]
    alarms = [one for one in found if one.severity != "info"]
    steps = _outcome(case.name)["steps"]
    wanted = not case.faults or bool(alarms)
    return Judged(
        case=case,
        learnt=_outcome(case.name)["learnt"],
        twin_learnt=_outcome(case.twin)["learnt"],
        alarms=sorted(alarms, key=lambda one: (one.severity != "error", -one.confidence)),
        early=[_alarms_at(run, int(cut * steps)) if wanted else frozenset() for cut in CUTS],
        reasons={verdict.code: f"{verdict.answer}: {verdict.reason}" for verdict in verdicts},
        layers=_outcome(case.name)["layers"],
        lines=_marked(run, case),
        peers=peers_judge(run),
    )


def _alarms_at(run: Run, step: int) -> frozenset[str]:
    findings = [one for verdict in judge(Cut(run, step)) for one in verdict.findings]
    return frozenset(one.code for one in findings if one.severity != "info")


@cache
def _outcome(name: str) -> dict[str, object]:
    from corpus.cases import all_cases

    return json.loads((folder_of(all_cases()[name]) / "outcome.json").read_text())


def _line(at: Where) -> tuple[str, int]:
    return Path(at.file).name, at.line


def _marked(run: Run, case: Case) -> frozenset[tuple[str, int]]:
    """Return the lines that carry the marks of a case's faults, in the source as it ran."""
    sites = frozenset[str]().union(*(fault.sites for fault in case.injected))
    return frozenset(
        (Path(path).name, number)
        for path, source in run.info.sources.items()
        for number, text in enumerate(source.splitlines(), 1)
        if any(text.endswith(f"# site: {site}") for site in sites)
    )
