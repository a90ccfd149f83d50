"""What is wrong: a run in, one verdict a rule out. Pure, without torch.

Example:
    >>> " ".join(sorted(RULES))
    'HW101 HW102 HW103 HW104 HW105 HW106 HW107 HW201 HW202 HW203 HW301 HW302 HW303'
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from headwater.rules.answers import Rule
from headwater.rules.collapse import HW107
from headwater.rules.exploding import HW102
from headwater.rules.facts import Facts
from headwater.rules.losses import HW201, HW202
from headwater.rules.oscillation import HW203
from headwater.rules.overflow import HW303
from headwater.rules.precision import HW301
from headwater.rules.reliability import calibrated
from headwater.rules.saturation import HW103, HW104
from headwater.rules.symmetry import HW106
from headwater.rules.underflow import HW302
from headwater.rules.updates import HW105
from headwater.rules.vanishing import HW101

if TYPE_CHECKING:
    from headwater.records import Verdict
    from headwater.runs.reader import Run

RULES: Mapping[str, Rule] = {
    type(rule).__name__: rule
    for rule in (
        *(HW101(), HW102(), HW103(), HW104(), HW105(), HW106(), HW107()),
        *(HW201(), HW202(), HW203(), HW301(), HW302(), HW303()),
    )
}


def judge(run: Run) -> tuple[Verdict, ...]:
    """Return the verdict of every rule on ``run``, in the order of their codes."""
    return tuple(calibrated(verdict) for verdict in judge_as_felt(run))


def judge_as_felt(run: Run) -> tuple[Verdict, ...]:
    """Return the verdicts with each rule's own confidence, before it is held to the corpus."""
    facts = Facts(run)
    return tuple(rule.judge(facts) for rule in RULES.values())
