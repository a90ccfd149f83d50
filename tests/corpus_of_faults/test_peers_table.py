"""The peers' tables: an alarm counts whenever it was given, and in no other way than ours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from benchmarks.peers import PEERS, Alarm, Heard
from corpus.cases import Case, all_cases
from corpus.judging import Judged
from corpus.page import page
from corpus.peers import at_any_cut, at_the_end, known_figures, of_peer, rules, tools
from corpus.scoring import score

from headwater.rules import RULES

SAGEMAKER = PEERS[0]
RATE = all_cases()["mlp-moons/huge-rate-0/0"]
PLAIN = all_cases()["mlp-moons/plain/0"]


def _alarm(rule: str, step: int) -> Alarm:
    meaning = SAGEMAKER.meanings[rule]
    return Alarm(rule=rule, step=step, codes=meaning.codes, causes=meaning.causes)


def _judged(
    case: Case,
    learnt: float,
    *alarms: Alarm,
    ratio: float = 1.0,
    early: Sequence[frozenset[str]] = (frozenset(),) * 5,
) -> Judged:
    said: Mapping[str, Sequence[Alarm]] = {peer.name: () for peer in PEERS}
    return Judged(
        case=case, learnt=learnt, twin_learnt=1.0, alarms=(), early=early, layers=(),
        lines=frozenset(), reasons=dict.fromkeys(RULES, ""),
        peers=Heard(alarms={**said, SAGEMAKER.name: alarms}, ratio=ratio, first=1e-6),
    )  # fmt: skip


def test_a_peer_s_first_related_alarm_is_told_by_the_cuts_that_ours_are() -> None:
    answer = of_peer(SAGEMAKER)(
        _judged(RATE, 0.1, _alarm("AllZero", 0), _alarm("WeightUpdateRatio", 13))
    )
    assert (answer.related, answer.spoke, answer.cause, answer.at) == (True, True, True, 0.05)
    late = of_peer(SAGEMAKER)(_judged(RATE, 0.1, _alarm("ExplodingTensor", 200)))
    assert (late.related, late.cause, late.at) == (True, False, 1.0)


def test_an_alarm_without_relation_to_the_fault_is_an_alarm_and_no_detection() -> None:
    held = all_cases()["mlp-moons/not-held-0/0"]
    answer = of_peer(SAGEMAKER)(_judged(held, 0.1, _alarm("ExplodingTensor", 3)))
    assert (answer.related, answer.spoke, answer.at) == (False, True, None)


def test_an_alarm_of_ours_that_was_withdrawn_counts_in_the_row_of_any_cut_only() -> None:
    once = _judged(RATE, 0.1, early=(frozenset({"HW201"}), *(frozenset(),) * 4))
    assert not at_the_end(once).related
    assert at_any_cut(once).related
    assert at_any_cut(once).at == 0.05


def test_a_tool_is_shown_without_the_rules_that_speak_on_healthy_trainings() -> None:
    harmed = [_judged(RATE, 0.1, _alarm("LossNotDecreasing", 10))]
    healthy = [_judged(PLAIN, 1.0, _alarm("LossNotDecreasing", 10))]
    rows = {row[0]: row[1:] for row in tools(harmed, healthy)}
    assert rows["SageMaker Debugger"][0].startswith("100.0 %")
    assert rows["SageMaker Debugger"][2].startswith("100.0 %")
    assert rows["SageMaker Debugger, 8 quiet rules of 9"][0].startswith("0.0 %")
    by_rule = {row[0]: row[1:] for row in rules(harmed, healthy)}
    assert by_rule["SageMaker Debugger: LossNotDecreasing"][1].startswith("100.0 %")


def test_small_gradients_with_a_level_ratio_are_counted_and_bad_ratios_are_not() -> None:
    harmed = [_judged(RATE, 0.1, ratio=5.9), _judged(RATE, 0.1, ratio=1e-5)]
    healthy = [_judged(PLAIN, 1.0, ratio=57.0), _judged(PLAIN, 1.0, ratio=math.nan)]
    text = " ".join(known_figures(harmed, healthy))
    assert "of the 2 harmful cases" in text
    assert "1 keep a ratio" in text
    assert "largest 57; 0 of 1 over its limit of 70" in text


def test_the_page_has_the_peers_with_their_sources_and_what_was_left_out() -> None:
    text = page(score([_judged(RATE, 0.1), _judged(PLAIN, 1.0)]))
    assert "## Peers on the same trainings" in text
    assert all(f"- {peer.name} ({peer.source}). Left out: " in text for peer in PEERS)
