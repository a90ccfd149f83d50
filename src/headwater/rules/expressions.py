"""The call to type instead of an expression that loses numbers, for a place that a rule names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headwater.rules.wording import where

if TYPE_CHECKING:
    from headwater.records import Expression, Where
    from headwater.rules.facts import Facts


def expression_at(facts: Facts, place: Where) -> Expression | None:
    """Return the expression that ends on a place's line, None if none was seen there."""
    if not (place.file and place.line):
        return None
    for one in facts.run.info.expressions:
        if 0 <= one.site < len(facts.sites):
            at = where(facts.sites[one.site])
            if (at.file, at.line) == (place.file, place.line):
                return one
    return None


def instead(facts: Facts, place: Where) -> str:
    """Say what to type on a line, as a clause without a full stop; "" if nothing is known.

    Such as "that is log of softmax: type F.log_softmax(x, dim) instead".
    """
    found = expression_at(facts, place)
    return f"that is {found.expression}: type {found.stable} instead" if found is not None else ""
