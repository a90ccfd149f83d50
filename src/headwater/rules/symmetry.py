"""HW106: units that are copies of each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from headwater.records import Cause, Finding, ParameterInfo, Verdict, Where
from headwater.rules.answers import cannot_say, healthy, wrong
from headwater.rules.facts import Facts
from headwater.rules.passes import Bools, Floats, indices
from headwater.rules.wording import count, names


@dataclass(frozen=True, kw_only=True)
class SymmetryLimits:
    """When units are the same and not alike by chance."""

    # L1 norms of a few float32 terms differ in the sixth digit if they differ at all: drawn units
    # agree to 1e-6 with a chance of 1e-6 a pair.
    spread: float = 1e-6
    # By then a layer that was set to the identity, or to zero, has moved apart if it trains.
    least_step: int = 4
    least_samples: int = 2


LIMITS = SymmetryLimits()


class HW106:
    """Identical units.

    What it sees:
        A layer with several units whose weights have the same L1 norm to six digits at each of the
        last samples, though the layer trains. Layers that start at zero do so by design, and the
        identity moves apart at the first steps.

    Why it hurts:
        Units that start the same and feed the same get the same gradient: they stay copies for
        ever, and a layer of a thousand is worth one.

    Example:
        ``nn.init.constant_(layer.weight, 0.01)`` in every layer.

    References:
        Goodfellow, Bengio and Courville (2016), Deep Learning, section 8.4, on breaking symmetry.
    """

    symptom: ClassVar[str] = "identical-units"

    def judge(self, facts: Facts) -> Verdict:
        """Compare the units of every matrix at the last samples."""
        late = np.unique(facts.movement.step[facts.movement.step >= LIMITS.least_step])
        if len(late) < LIMITS.least_samples:
            return cannot_say(self, f"fewer than {LIMITS.least_samples} samples after the start")
        same = _the_same(facts, set(late[-LIMITS.least_samples :].tolist()))
        if not same.any():
            return healthy(self, "no layer's units are copies of each other")
        return wrong(self, [self._finding(facts, np.flatnonzero(same).tolist())])

    def _finding(self, facts: Facts, found: list[int]) -> Finding:
        infos: list[ParameterInfo] = [facts.parameters[index] for index in found]
        units = max(info.shape[0] for info in infos)
        return Finding(
            code="HW106",
            symptom=self.symptom,
            severity="error",
            confidence=0.95,
            first_step=int(facts.movement.step[0]),
            step=facts.last_step,
            where=tuple(Where(module=info.module, parameter=info.name) for info in infos),
            message=f"All units of {names(infos)} are copies of each other, up to "
            f"{count(units, 'unit')} in a layer. Draw the weights at random, as Xavier's and He's "
            "initialisation do.",
            causes=(
                Cause(
                    cause="constant-init",
                    share=1.0,
                    evidence="the L1 norms of the units' weights agree to six digits",
                ),
            ),
            evidence={"layers": len(infos), "units": units, "spread_limit": LIMITS.spread},
            remedies=("xavier-init", "he-init"),
        )


def _the_same(facts: Facts, steps: set[int]) -> Bools:
    """Mark the parameters whose units agreed at all of these samples, while they trained."""
    table = facts.run.parameter_rows
    step, parameter = indices(table, "step"), indices(table, "parameter")
    rows = np.flatnonzero(np.isin(step, list(steps)))
    agreed = np.zeros(len(facts.parameters), dtype=int)
    column = table["unit_l1"].combine_chunks()
    for row in rows.tolist():
        index = int(parameter[row])
        known = 0 <= index < len(facts.parameters)
        if known and facts.matrices[index] and column[row].is_valid:
            agreed[index] += _agree(np.asarray(column[row].values, dtype=float))
    moved = np.nan_to_num(facts.movement.relative_update).max(axis=0) > 0
    same: Bools = (agreed >= LIMITS.least_samples) & moved
    return same


def _agree(norms: Floats) -> bool:
    if len(norms) < 2 or not np.isfinite(norms).all():
        return False
    mean = float(norms.mean())
    return mean > 0 and float(norms.max() - norms.min()) <= LIMITS.spread * mean
