"""From norms to the account: for every node its best parent, the gain there, and the junction.

``log10 |g(node)| - log10 |g(root)|`` telescopes over the walk of parents, so the account of every
parameter is exact by construction; ``docs/record.md`` describes the rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from headwater.watch.statistics import Scalar, decades
from headwater.watch.tap import ROOT, Measured


@dataclass(frozen=True, slots=True)
class Account:
    """Columns by node number, for the nodes that ran; sizes in decades."""

    node: list[int]
    parent: list[int]
    edge: list[float]
    junction: list[float]
    level: list[float]
    gain: list[float | None]


def scalars(measured: Measured) -> list[Scalar | None]:
    """Return all norms of a backward pass in one list, to be fetched together."""
    flat: list[Scalar | None] = list(measured.arriving)
    for sent in measured.contributions:
        flat.extend([size for _, size in sent])
    return flat


def settle(
    measured: Measured, numbers: Sequence[float | None], signal: Sequence[Sequence[int]]
) -> Account:
    """Choose each node's parent and work out the account.

    Args:
        measured: Which node sent to which.
        numbers: The norms of :func:`scalars`, on the host.
        signal: For each node the children that carry the signal on (not into a parameter).
    """
    arriving, contributions = _by_node(measured, numbers)
    best = [max(sent, key=_size, default=None) for sent in contributions]
    sent_to: list[dict[int, float]] = [{} for _ in arriving]
    for child, sent in enumerate(contributions):
        for parent, part in sent:
            if parent != ROOT:
                sent_to[parent][child] = max(part, sent_to[parent].get(child, 0.0))
    account = Account([], [], [], [], [], [])
    for number, size in enumerate(arriving):
        if size is None:
            continue
        choice = best[number]
        parent = choice[0] if choice is not None else ROOT
        above = arriving[parent] if parent != ROOT else None
        account.node.append(number)
        account.parent.append(parent)
        if choice is None or above is None:
            account.edge.append(0.0)
            account.junction.append(0.0)
        else:
            account.edge.append(_change(choice[1], above))
            account.junction.append(_change(size, choice[1]))
        account.level.append(decades(size))
        onward = [sent_to[number][c] for c in signal[number] if c in sent_to[number]]
        account.gain.append(_change(max(onward), size) if onward else None)
    return account


def _by_node(
    measured: Measured, numbers: Sequence[float | None]
) -> tuple[list[float | None], list[list[tuple[int, float]]]]:
    count = len(measured.arriving)
    rest = iter(numbers[count:])
    contributions = [
        [(parent, float(next(rest) or 0.0)) for parent, _ in sent]
        for sent in measured.contributions
    ]
    return list(numbers[:count]), contributions


def _size(contribution: tuple[int, float]) -> float:
    """Order contributions; one that is not finite is where a fault came from, so it leads."""
    return contribution[1] if math.isfinite(contribution[1]) else math.inf


def _change(after: float, before: float) -> float:
    """Return log10(after / before); nothing more is lost where all was lost already."""
    if not (math.isfinite(after) and math.isfinite(before)):
        return math.nan
    if after == before:
        return 0.0
    if before == 0:
        return math.inf
    return math.log10(after) - math.log10(before) if after > 0 else -math.inf
