"""Which of a run's many recorded backward passes are worth showing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

if TYPE_CHECKING:
    from headwater.runs.reader import Run


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A pass worth showing: the newest of ``alike`` ones with one loss and one optimiser.

    ``not_finite`` is the newest step of those passed over because nothing in them is finite.
    """

    step: int
    backward: int
    root: int
    optimiser: int | None
    alike: int
    not_finite: int | None = None


def choose(run: Run, step: int | None = None) -> tuple[Choice, ...]:
    """Return one pass per distinct graph, the newest of each; or those of ``step`` alone.

    Two passes are of one graph if they start at the same site for the same optimiser: a GAN's
    discriminator and generator are two graphs, the micro-batches of an accumulation are one. A
    pass in which nothing is finite shows nothing: the newest one that does is preferred.
    """
    rows = run.site_rows
    if step is not None:
        rows = rows.filter(pc.equal(rows["step"], step))
    at_root = pc.equal(rows["parent"], -1)
    roots = rows.filter(at_root)
    readable = rows.filter(pc.and_(pc.invert(at_root), pc.invert(pc.is_nan(rows["level"]))))
    telling = set(_places(readable))
    pulse = run.pulse
    optimisers = dict(zip(pulse["step"].to_pylist(), pulse["optimiser"].to_pylist(), strict=True))
    found: dict[tuple[int, int | None], set[tuple[int, int]]] = {}
    for place, root in zip(_places(roots), roots["site"].to_pylist(), strict=True):
        found.setdefault((root, optimisers.get(place[0])), set()).add(place)
    choices = [
        _choice(root, optimiser, places, telling) for (root, optimiser), places in found.items()
    ]
    # A pass with several roots (one backward call on several losses) is one graph.
    unique = {(choice.step, choice.backward): choice for choice in reversed(choices)}
    return tuple(sorted(unique.values(), key=lambda choice: (choice.step, choice.backward)))


def _places(rows: Any) -> list[tuple[int, int]]:
    return list(zip(rows["step"].to_pylist(), rows["backward"].to_pylist(), strict=True))


def _choice(
    root: int, optimiser: int | None, places: set[tuple[int, int]], telling: set[tuple[int, int]]
) -> Choice:
    newest = max(at for at, _ in places)
    shown = max((at for at, backward in places & telling), default=newest)
    return Choice(
        step=shown,
        backward=min(backward for at, backward in places if at == shown),
        root=root,
        optimiser=optimiser,
        alike=len(places),
        not_finite=newest if newest > shown else None,
    )
