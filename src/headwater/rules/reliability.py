"""How sure a finding is: how often such a one was right on trainings whose fault is known.

A rule says how sure it feels, from its own evidence. What that is worth is a count: of the alarms
of the same rule, level and feeling on the tune half of the corpus, how many named a symptom of a
fault that did harm. The counts are written by `make calibrate`; `docs/accuracy.md` shows on the
other half whether they hold.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from headwater.records import Finding, Verdict
from headwater.rules.counts import COUNTS

PRIOR = 8.0
"""How many alarms the rule's own share weighs beside those of one level and feeling, and the share
of all rules beside the rule's: a group of three cannot be surer than its rule."""

MOST = 0.99
"""No finding is surer: a corpus of short trainings cannot count what it does not hold."""

_STEP = 0.05

Key = tuple[str, str, float]


def key(finding: Finding) -> Key:
    """Return the group that a finding is counted in: its code, its level, how sure it feels."""
    return finding.code, finding.severity, round(_STEP * round(finding.confidence / _STEP), 2)


def confidence(group: Key, counts: Mapping[Key, tuple[int, int]] = COUNTS) -> float | None:
    """Return the share of right alarms in a group, drawn to its rule's; None for an unseen rule.

    ``counts`` has (right, told) for each group. Shares are posterior means under a beta prior with
    the rule's share and the weight ``PRIOR`` (Gelman et al., Bayesian Data Analysis, section 2.4).

    Example:
        >>> counts = {("HW101", "error", 0.9): (30, 30), ("HW101", "warning", 0.6): (0, 4)}
        >>> confidence(("HW101", "error", 0.9), counts) > 0.9
        True
        >>> confidence(("HW101", "warning", 0.6), counts) < 0.7
        True
        >>> confidence(("HW999", "error", 0.9), counts) is None
        True
    """
    mine = [pair for (code, *_), pair in counts.items() if code == group[0]]
    if not mine:
        return None
    right, told = counts.get(group, (0, 0))
    of_rule = _drawn(*_sum(mine), _drawn(*_sum(counts.values()), 0.5))
    return min(MOST, _drawn(right, told, of_rule))


def _sum(pairs: Collection[tuple[int, int]]) -> tuple[int, int]:
    return sum(right for right, _ in pairs), sum(told for _, told in pairs)


def _drawn(right: int, told: int, to: float) -> float:
    return (right + PRIOR * to) / (told + PRIOR)


def calibrated(verdict: Verdict) -> Verdict:
    """Return a verdict whose findings are as sure as such findings were right.

    One of level info is no alarm, and keeps what its rule says; so does a rule that the corpus
    has no case of.
    """
    if not verdict.findings:
        return verdict
    return replace(verdict, findings=tuple(_calibrated(one) for one in verdict.findings))


def _calibrated(finding: Finding) -> Finding:
    sure = confidence(key(finding)) if finding.severity != "info" else None
    return finding if sure is None else replace(finding, confidence=round(sure, 2))
