"""HW106: units that are copies of each other and stay so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from headwater.records import Cause, Finding, Verdict
from headwater.rules.answers import cannot_say, healthy, wrong
from headwater.rules.facts import Facts
from headwater.rules.passes import Bools
from headwater.rules.signal import mostly, users
from headwater.rules.wording import count, names


@dataclass(frozen=True, kw_only=True)
class IdenticalLimits:
    """When units count as copies."""

    # L1 norms of a few float32 terms differ in the sixth digit if they differ at all: drawn units
    # agree to 1e-6 with a chance of 1e-6 a pair.
    spread: float = 1e-6
    least_samples: int = 3


LIMITS = IdenticalLimits()


class HW106:
    """Identical units.

    What it sees:
        Weight matrices all of whose units have the same incoming weights, by their L1 norm to six
        digits, from the first sample on, in most and in the newest, though they train. Those
        that do not move, and matrices of zeros, are left out unless the loss stands still.

    Why it hurts:
        Units that start alike get the same gradient and stay alike: a layer of a hundred is a
        layer of one.

    Example:
        ``nn.init.constant_(layer.weight, 0.1)`` in every hidden layer: only the last of them,
        whose gradient comes through the head's own weights, can ever tell its units apart.

    References:
        Goodfellow et al. (2016), Deep learning, section 8.4, on breaking symmetry.
    """

    symptom: ClassVar[str] = "identical-units"
    causes: ClassVar[tuple[str, ...]] = ("constant-init",)

    def judge(self, facts: Facts) -> Verdict:
        """Compare the units of each matrix that trains."""
        spread = facts.unit_spread
        if len(spread) < LIMITS.least_samples:
            return cannot_say(self, f"units were measured in {len(spread)} samples, 3 are needed")
        chosen = np.flatnonzero(drawn_alike(facts) | _stuck_at_zero(facts)).tolist()
        if not chosen:
            return healthy(self, "no layer's units are copies of each other")
        return wrong(self, [self._finding(facts, chosen)])

    def _finding(self, facts: Facts, chosen: list[int]) -> Finding:
        infos = [facts.parameters[index] for index in chosen]
        newest = facts.flows[-1].newest if facts.flows else None
        units = max(info.shape[0] for info in infos)
        spread = float(np.nan_to_num(facts.unit_spread[-1, chosen]).max())
        at = int(facts.movement.step[0])
        return Finding(
            code="HW106",
            symptom=self.symptom,
            severity="error" if facts.trend.stalled else "warning",
            confidence=0.95,
            first_step=at,
            step=facts.last_step,
            where=users(facts, newest, chosen) if newest is not None else (),
            message=f"All units of {names(infos)} have the same weights, so up to "
            f"{count(units, 'unit')} do the work of one and get the same gradient. Draw the "
            "weights at random (He or Xavier initialisation), not as a constant.",
            causes=(
                Cause(
                    cause="constant-init",
                    share=1.0,
                    evidence=f"units' L1 norms differ by {spread:.1g} of themselves at most",
                ),
            ),
            evidence={
                "spread": spread,
                "spread_limit": LIMITS.spread,
                "parameters": len(chosen),
            },
            remedies=("he-init", "xavier-init"),
        )


def drawn_alike(facts: Facts) -> Bools:
    """Mark matrices whose units are copies of each other, and were from the start.

    Weights that enormous steps threw all one way later are no constants.
    """
    spread = facts.unit_spread
    if len(spread) < LIMITS.least_samples:
        return np.zeros(len(facts.parameters), dtype=bool)
    alike = spread <= LIMITS.spread
    same: Bools = mostly(alike) & (alike | np.isnan(spread))[0] & _trains(facts)
    return same


def _trains(facts: Facts) -> Bools:
    """Mark matrices that are not zero, and move; if nothing is learnt, whether they move or not.

    Units that were drawn alike can all be dead alike.
    """
    moves = np.nan_to_num(facts.movement.relative_update[-1]) > 0
    moving: Bools = _matrices(facts) & (facts.movement.weight_norm[-1] > 0)
    return moving if facts.trend.stalled else moving & moves


def _stuck_at_zero(facts: Facts) -> Bools:
    """Mark matrices that should train and are zero to the end, if nothing is learnt."""
    if not facts.trend.stalled:
        return np.zeros(len(facts.parameters), dtype=bool)
    zero: Bools = facts.started_at_zero & (facts.movement.weight_norm[-1] == 0)
    return _matrices(facts) & zero


def _matrices(facts: Facts) -> Bools:
    return np.array([info.optimiser is not None and len(info.shape) > 1 and info.requires_grad
                     for info in facts.parameters], dtype=bool)  # fmt: skip
