"""Every experiment: in small its claim is not refuted, and under wrong settings it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from claims_in_small import SMALL, small, wrong

from headwater.lab.experiments import EXPERIMENTS
from headwater.lab.runner import run

SEEDS, OFFSET = int(os.environ.get("LAB_SEEDS", "60")), int(os.environ.get("LAB_OFFSET", "0"))


@pytest.mark.parametrize("name", SMALL)
def test_a_claim_is_not_refuted_by_a_few_seeds(name: str, tmp_path: Path) -> None:
    outcome = run(small(name), seeds=SMALL[name].seeds, offset=500, out=tmp_path)
    assert outcome.verdict.of("does not hold") == []


@pytest.mark.parametrize("name", SMALL)
def test_wrong_settings_refute_the_claim(name: str, tmp_path: Path) -> None:
    outcome = run(wrong(name), seeds=SMALL[name].seeds, offset=500, out=tmp_path)
    assert outcome.verdict.answer == "does not hold"


def test_every_experiment_has_a_refuting_test() -> None:
    assert set(SMALL) == set(EXPERIMENTS)


@pytest.mark.lab
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_all_bands_hold(name: str, tmp_path: Path) -> None:
    one = EXPERIMENTS[name]
    # Where fewer or more seeds than 60 are what the bands were made for, it is these.
    seeds = one.seeds if one.slow or one.seeds > 100 else SEEDS
    outcome = run(one, seeds=seeds, offset=OFFSET, out=tmp_path)
    assert outcome.verdict.of("does not hold") == []
    assert outcome.verdict.of("cannot say") == []


def test_a_name_says_what_a_file_claims() -> None:
    for name, one in EXPERIMENTS.items():
        assert name == one.name
        assert one.claim.endswith(".")
        assert one.literature
        assert one.fragile
        assert len({judged.says for judged in one.assertions}) == len(one.assertions)
