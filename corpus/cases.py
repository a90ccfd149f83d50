"""All cases: healthy trainings, each fault in each, pairs of faults; and which are tuned on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from corpus.faults import BY_NAME, FAULTS, Fault, apply
from corpus.healthy import BASES, PLAIN, variants
from corpus.recipes import Recipe

PAIRS: Sequence[tuple[str, str]] = (
    ("deep-sigmoid", "huge-rate-sgd"),
    ("large-weights", "not-held"),
    ("one-mean", "softmax-twice"),
    ("negative-bias", "detached"),
    ("raw-inputs", "summed-loss"),
    ("small-weights", "tiny-rate"),
    ("identical", "softmax-twice"),
    ("kept-gradients", "momentum"),
)
"""Faults that are met together; finding either counts as detection, and either's cause."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One training of the corpus; ``faults`` is empty for a healthy one."""

    name: str
    base: str
    recipe: Recipe
    seed: int
    faults: tuple[str, ...] = ()

    @property
    def split(self) -> Literal["tune", "score"]:
        """The half it belongs to, by hash of its name, so that no edit can move it."""
        return "score" if hashlib.sha256(self.name.encode()).digest()[0] % 2 else "tune"

    @property
    def twin(self) -> str:
        """The healthy case that it is measured against."""
        return f"{self.base}/plain/0"

    @property
    def injected(self) -> tuple[Fault, ...]:
        """Its faults."""
        return tuple(BY_NAME[name] for name in self.faults)


@cache
def all_cases() -> Mapping[str, Case]:
    """Return every case by its name."""
    cases = [*_healthy(), *_faulty(), *_paired()]
    found = {case.name: case for case in cases}
    if len(found) != len(cases):
        raise ValueError("two cases have one name")
    return found


def _healthy() -> Iterator[Case]:
    for base, recipe in BASES.items():
        for seed in range(PLAIN):
            yield Case(name=f"{base}/plain/{seed}", base=base, recipe=recipe, seed=seed)
        for name, changed in variants(recipe).items():
            for seed in range(2):
                yield Case(name=f"{base}/{name}/{seed}", base=base, recipe=changed, seed=seed)


def _fits(fault: Fault, recipe: Recipe) -> bool:
    changed = apply(recipe, fault.changes[0])
    on_task = not fault.tasks or changed.task in fault.tasks
    return recipe.network in fault.networks and on_task and fault.fits(recipe)


def _faulty() -> Iterator[Case]:
    for base, recipe in BASES.items():
        for fault in FAULTS:
            if not _fits(fault, recipe):
                continue
            for strength, change in enumerate(fault.changes):
                if base == "rnn-adding" and change.get("task"):
                    continue
                yield Case(
                    name=f"{base}/{fault.name}-{strength}/0",
                    base=base,
                    recipe=apply(recipe, change),
                    seed=100 + strength,
                    faults=(fault.name,),
                )


def _paired() -> Iterator[Case]:
    for base, recipe in BASES.items():
        for names in PAIRS:
            faults = [BY_NAME[name] for name in names]
            if all(_fits(fault, recipe) for fault in faults):
                changed = recipe
                for fault in faults:
                    changed = apply(changed, fault.changes[-1])
                yield Case(
                    name=f"{base}/{'+'.join(names)}/0",
                    base=base,
                    recipe=replace(changed),
                    seed=200,
                    faults=names,
                )
