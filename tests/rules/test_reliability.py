"""Confidence is a count: shares of right alarms, drawn to the rule's where they are few."""

from dataclasses import replace

from headwater.records import Finding, Severity, Verdict, Where
from headwater.rules.counts import COUNTS
from headwater.rules.reliability import calibrated, confidence, key

MANY = {
    ("HW101", "error", 0.9): (90, 100),
    ("HW101", "warning", 0.6): (1, 2),
    ("HW202", "error", 0.9): (10, 100),
}


def _finding(severity: Severity = "error", felt: float = 0.9) -> Finding:
    return Finding(
        code="HW101", symptom="vanishing-gradient", severity=severity, confidence=felt,
        first_step=0, step=8, where=(Where(line=3),), message="lost",
    )  # fmt: skip


def test_many_alarms_speak_for_themselves() -> None:
    assert abs((confidence(("HW101", "error", 0.9), MANY) or 0) - 0.9) < 0.02


def test_few_alarms_are_drawn_to_their_rule_and_not_to_others() -> None:
    drawn = confidence(("HW101", "warning", 0.6), MANY) or 0
    assert 0.75 < drawn < 0.9


def test_a_group_never_seen_is_its_rules() -> None:
    seen, unseen = (confidence(("HW202", "error", felt), MANY) or 0 for felt in (0.9, 0.3))
    assert 0.1 < unseen < 0.2
    assert abs(seen - unseen) < 0.1


def test_a_rule_never_seen_keeps_its_own_feeling() -> None:
    assert confidence(("HW303", "warning", 0.8), MANY) is None


def test_feelings_a_hair_apart_are_one_group() -> None:
    assert key(_finding(felt=0.8999)) == key(_finding(felt=0.9))


def test_what_is_no_alarm_keeps_what_its_rule_says() -> None:
    info = Verdict(
        code="HW101", symptom="vanishing-gradient", answer="wrong", reason="",
        findings=(_finding("info", 0.61),),
    )  # fmt: skip
    assert calibrated(info) == info
    alarm = replace(info, findings=(_finding(),))
    (found,) = calibrated(alarm).findings
    assert found == replace(_finding(), confidence=found.confidence)
    assert found.confidence == round(confidence(key(_finding())) or 0, 2)


def test_the_counts_are_counts() -> None:
    assert COUNTS
    assert all(0 <= right <= told and told > 0 for right, told in COUNTS.values())
    assert list(COUNTS) == sorted(COUNTS)
