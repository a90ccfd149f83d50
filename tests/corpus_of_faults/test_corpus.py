"""The corpus: its cases and labels are fixed, a record of one can be cut and judged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from corpus import recording
from corpus.cases import Case, all_cases
from corpus.cutting import Cut
from corpus.faults import FAULTS
from corpus.healthy import BASES
from corpus.judging import Judged, judge_one
from corpus.scoring import score

from headwater.records import Cause, Finding, Where
from headwater.rules import RULES, judge
from headwater.rules.causes import EXPLANATIONS
from headwater.runs.reader import Run

PLACE = Path(recording.__file__).parent


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(recording, "FOLDER", tmp_path)
    return tmp_path


def test_there_are_more_than_six_hundred_cases_in_two_even_halves() -> None:
    cases = all_cases().values()
    halves = [case.split for case in cases]
    assert len(cases) >= 600
    assert 0.45 < halves.count("score") / len(halves) < 0.55
    assert sum(not case.faults for case in cases) >= 200


def test_a_case_stays_in_its_half_whatever_is_added() -> None:
    fixed = {"mlp-moons/plain/0": "score", "mlp-moons/plain/1": "tune"}
    assert {name: all_cases()[name].split for name in fixed} == fixed


def test_every_cause_is_right_of_some_fault_but_for_symptoms_and_what_is_not_known() -> None:
    right = frozenset[str]().union(*(fault.causes for fault in FAULTS))
    assert set(EXPLANATIONS) - right == {"saturation", "vanishing-gradient", "non-finite"}


def test_every_fault_is_injected_somewhere_and_every_mark_is_on_a_line() -> None:
    injected = {name for case in all_cases().values() for name in case.faults}
    assert injected == {fault.name for fault in FAULTS}
    source = "".join(path.read_text() for path in PLACE.glob("*.py"))
    marks = set(re.findall(r"# site: ([a-z-]+)$", source, re.MULTILINE))
    assert {site for fault in FAULTS for site in fault.sites} <= marks


def test_every_symptom_of_a_label_is_a_rule_s() -> None:
    assert {code for fault in FAULTS for code in fault.codes} <= set(RULES)


def test_a_fault_changes_the_recipe_of_its_twin() -> None:
    for case in all_cases().values():
        assert not case.faults or case.recipe != BASES[case.base]


def test_a_faulty_case_is_recorded_once_and_told(runs: Path) -> None:
    cases = [all_cases()["mlp-moons/plain/0"], all_cases()["mlp-moons/dead-layer-0/0"]]
    assert recording.record_all(cases) == 2
    assert recording.record_all(cases) == 0
    healthy, dead = (judge_one(case) for case in cases)
    assert healthy.healthy
    assert not healthy.alarms
    assert dead.harmed
    assert dead.told is not None
    assert (dead.layer_right, dead.line_right) == (True, True)
    assert "HW103" in {alarm.code for alarm in dead.alarms}
    assert dead.cause_right(1)
    assert dead.first_alarm is not None
    assert dead.first_alarm <= 0.2


def test_a_cut_at_the_last_step_is_the_whole_run_and_an_early_one_holds_less(runs: Path) -> None:
    case = all_cases()["mlp-moons/negative-bias-1/0"]
    recording.record(case)
    run = Run.open(recording.folder_of(case))
    assert judge(Cut(run, 10_000)) == judge(run)
    early = Cut(run, 20)
    assert early.sampled_steps == (0, 1, 2, 4, 8, 16)
    assert early.pulse.num_rows == 21


def _judged(case: Case, learnt: float, *alarms: Finding) -> Judged:
    return Judged(
        case=case, learnt=learnt, twin_learnt=1.0, alarms=alarms, early=[frozenset()] * 5,
        reasons={}, layers=("layers.0", "layers.1"), lines=frozenset(),
    )  # fmt: skip


def _alarm(code: str, cause: str, share: float = 1.0, **more: object) -> Finding:
    defaults = {"severity": "error", "confidence": 0.9}
    return Finding(
        code=code, symptom="", first_step=0, step=9, where=(Where(module="layers.1"),),
        message="", causes=(Cause(cause=cause, share=share, evidence=""),),
        **{**defaults, **more},
    )  # fmt: skip


def test_labels_are_what_was_injected_and_what_happened() -> None:
    plain, rate = all_cases()["mlp-moons/plain/0"], all_cases()["mlp-moons/huge-rate-0/0"]
    held = all_cases()["mlp-moons/not-held-0/0"]
    found = score([
        _judged(plain, 1.0), _judged(plain, 0.1), _judged(rate, 0.9), _judged(rate, 0.1),
        _judged(held, 1.0),
    ])  # fmt: skip
    sizes = [len(part) for part in (found.healthy, found.unclear, found.harmless, found.harmed)]
    assert sizes == [1, 1, 1, 2]


def test_the_first_cause_is_the_surest_that_names_no_symptom() -> None:
    rate = all_cases()["mlp-moons/huge-rate-0/0"]
    one = _judged(
        rate, 0.1, _alarm("HW202", "dead-units"), _alarm("HW103", "weight-init", 0.5),
        _alarm("HW203", "learning-rate-too-high", 0.8),
    )  # fmt: skip
    assert list(one.causes) == ["learning-rate-too-high", "weight-init"]
    assert one.cause_right(1)
    assert one.told is not None
    assert one.told.code == "HW202"
