"""HW105 where no gradient is there when the optimiser steps: the calls of a step are out of order.

The record shows that the backward pass left gradients, that none was there at the step, and that
nothing moved. Which call is early or late stands in the source.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from headwater.records import Where
from headwater.rules.facts import Facts
from headwater.rules.wording import where

_Scope = ast.For | ast.While | ast.FunctionDef

_CALLS = ("zero_grad", "backward", "step")


@dataclass(frozen=True, kw_only=True)
class OrderingLimits:
    """When gradients count as gone."""

    # The first sample of a loop that steps first has no gradient yet; two more must agree.
    least_samples: int = 3


LIMITS = OrderingLimits()


def gone_before_the_step(facts: Facts) -> list[int]:
    """Return the parameters that should train, if in no sample one had a gradient at its step.

    Empty unless a backward pass gave each of them one that is not zero, and none of them moved.
    """
    movement = facts.movement
    held = [
        index
        for index, info in enumerate(facts.parameters)
        if info.optimiser is not None and info.requires_grad and info.got_gradient
    ]
    if len(movement.step) < LIMITS.least_samples or not held:
        return []
    made = np.nan_to_num(movement.unscaled_norm[:, held], nan=0.0) > 0
    applied = np.nan_to_num(movement.applied_norm[:, held], nan=0.0) > 0
    updates = movement.relative_update[:, held]  # NaN where what was 0 stays 0
    measured = np.isfinite(updates).any(axis=1)
    if applied.any() or (np.nan_to_num(updates) > 0).any() or not measured.all():
        return []
    if made.any(axis=1).sum() < LIMITS.least_samples - 1:
        return []
    return [index for at, index in enumerate(held) if made[:, at].any()]


def out_of_order(facts: Facts) -> tuple[str, Where | None]:
    """Return what is out of order, as a clause, and its line where the source shows it."""
    for file, source in sorted(facts.run.info.sources.items()):
        lines = {at.line for at in map(where, facts.sites) if at.file == file}
        found = misplaced(source, frozenset(lines))
        if found is not None:
            name, number = found
            what = "runs between backward() and step()" if name == "zero_grad" else (
                "runs before backward()")  # fmt: skip
            return f"{name}() {what}", Where(file=file, line=number)
    return "zero_grad() runs between backward() and step(), or step() before backward()", None


@cache
def misplaced(source: str, seen: frozenset[int] = frozenset()) -> tuple[str, int] | None:
    r"""Return the call that is out of order in a source's innermost such loop or function.

    Right is any rotation of zero_grad, backward, step. Loops with lines that were ``seen`` in a
    graph come first: they ran.

    Example:
        >>> misplaced("for x in data:\n    o.step()\n    o.zero_grad()\n    f(x).backward()\n")
        >>> misplaced("for x in data:\n    f(x).backward()\n    o.zero_grad()\n    o.step()\n")
        ('zero_grad', 3)
        >>> misplaced("for x in data:\n    o.zero_grad()\n    o.step()\n    f(x).backward()\n")
        ('step', 3)
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return None
    scopes = [node for node in ast.walk(tree) if isinstance(node, _Scope)]

    def unlikely(scope: _Scope) -> tuple[bool, int]:
        length = (scope.end_lineno or scope.lineno) - scope.lineno
        return not seen & set(range(scope.lineno, scope.lineno + length + 1)), length

    for scope in sorted(scopes, key=unlikely):
        calls = list(_in_order(scope))
        names = [name for name, _ in calls]
        if sorted(names) != sorted(_CALLS):
            continue  # several optimisers or losses: who belongs to whom is not to be seen here
        start = names.index("backward")
        if names[(start + 1) % 3] == "zero_grad":
            early = "step" if names.index("step") < start else "zero_grad"
            return next(call for call in calls if call[0] == early)
    return None


def _in_order(scope: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the calls of a training step as they stand; a scheduler's step is another's."""
    calls = [
        (node.func.attr, node.end_lineno or node.lineno, node.func.value)
        for node in ast.walk(scope)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]
    zeroed = {ast.dump(owner) for name, _, owner in calls if name == "zero_grad"}
    for name, number, owner in sorted(calls, key=lambda call: call[1]):
        if name in _CALLS and (name != "step" or not zeroed or _is_optimiser(owner, zeroed)):
            yield name, number


def _is_optimiser(owner: ast.expr, zeroed: set[str]) -> bool:
    name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
    return ast.dump(owner) in zeroed or name.lower().startswith(("opt", "adam", "sgd"))
