"""What a rule is, and its three answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from headwater.records import Finding, Severity, Verdict
from headwater.rules.facts import Facts


class Rule(Protocol):
    """A class whose name is its code and whose docstring is its words.

    The docstring has the sections What it sees, Why it hurts, Example, References; the page of
    the rule is made from it.
    """

    @property
    def symptom(self) -> str:
        """The symptom's name, as findings carry it."""

    @property
    def causes(self) -> tuple[str, ...]:
        """The causes that its findings can carry; each is explained in `rules.causes`."""

    def judge(self, facts: Facts) -> Verdict:
        """Return the rule's answer on a run."""


def healthy(rule: Rule, reason: str) -> Verdict:
    """Answer that nothing is wrong, and why."""
    return Verdict(code=type(rule).__name__, symptom=rule.symptom, answer="healthy", reason=reason)


def cannot_say(rule: Rule, reason: str) -> Verdict:
    """Answer that the record does not hold what the rule reads."""
    return Verdict(
        code=type(rule).__name__, symptom=rule.symptom, answer="cannot say", reason=reason
    )


def wrong(rule: Rule, findings: Sequence[Finding]) -> Verdict:
    """Answer with findings, the worst first."""
    order: tuple[Severity, ...] = ("error", "warning", "info")
    ranked = sorted(findings, key=lambda one: (order.index(one.severity), -one.confidence))
    return Verdict(
        code=type(rule).__name__,
        symptom=rule.symptom,
        answer="wrong",
        reason=ranked[0].message,
        findings=tuple(ranked),
    )


def too_few_samples(rule: Rule, facts: Facts) -> Verdict:
    """Answer that there are fewer than three samples of any loss."""
    sampled = len(facts.run.sampled_steps)
    return cannot_say(
        rule, f"the record has {sampled} sampled steps and no loss sampled three times"
    )
