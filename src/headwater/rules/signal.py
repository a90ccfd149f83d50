"""How the gradient's size changes on its way from the loss to the layers and parameters.

Sizes are judged twice, as Frobenius norm and as root mean square, and the smaller change counts:
a layer of critical initialisation keeps the norm when widths change, but averaging over 7 x 7
positions takes 1.7 decades off the root mean square and 0.8 off the norm, and a sequence of which
only the last position is read does the reverse. What truly vanishes falls by both measures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from headwater.records import Cause, Where
from headwater.rules.facts import Facts
from headwater.rules.passes import MANY_CALLS, Bools, Floats, Flow, Pass
from headwater.rules.wording import unique, where


@dataclass(frozen=True, kw_only=True)
class SignalLimits:
    """Where a loss of signal becomes starvation."""

    # Three decades: deep critical networks stay within one (tanh Xavier 0.25, ReLU He 0.23 at
    # five layers), a five-layer sigmoid network, which never learns, has lost 3.2.
    lost_decades: float = 3.0
    # A hundredth of the fastest layer's relative update. In networks that learn the slowest
    # hidden layer moves a tenth to a third as fast as the fastest; in the two-circles net that
    # does not learn, a hundredth.
    pace: float = 1e-2
    # Loops need a stalled loss of this many steps: a GRU on a long sequence stands on a plateau
    # for some hundred steps before it finds what to keep.
    steps_of_loop: int = 300
    # An activation counts as saturated, or a layer as dead, when half of it is.
    half: float = 0.5


LIMITS = SignalLimits()

SURE_SHARE = 0.75
"""Most samples: a fault holds in three of four, and in the newest."""


def losses_of_signal(one: Pass) -> Floats:
    """Return the decades lost from the strongest layer nearer to the loss to each layer.

    ``inf`` where the gradient is exactly zero; NaN for rows that are not layers or whose gradient
    is not finite. Negative where a layer is the strongest yet, 0 where it is the first.
    """
    return _change(one, np.maximum, -np.inf)


def growths_of_signal(one: Pass) -> Floats:
    """Return the decades gained from the weakest layer nearer to the loss to each layer."""
    return -_change(one, np.minimum, np.inf)


def parameter_losses(facts: Facts, one: Pass) -> Floats:
    """Return the decades that the signal lost before it reached each matrix; NaN if not reached.

    A matrix stands where the operation that uses it stands, so that the loss is that of the signal
    and not of the weight's gradient, which can look level while the signal dies.
    """
    return _by_parameter(facts, one, losses_of_signal(one))


def parameter_growths(facts: Facts, one: Pass) -> Floats:
    """Return the decades by which the signal grew before it reached each matrix."""
    return _by_parameter(facts, one, growths_of_signal(one))


def users(facts: Facts, one: Pass, parameters: Sequence[int]) -> tuple[Where, ...]:
    """Return the places that use these parameters."""
    found = [
        where(facts.sites[one.site[one.owners[index]]], facts.parameters[index].name)
        for index in parameters
        if one.owners.get(index, -1) >= 0
    ]
    return unique(found)


def mostly(held: Bools) -> Bools:
    """Say of each column whether it is true in most rows, and in the last.

    Example:
        >>> mostly(np.array([[True, True], [True, True], [False, True], [True, False]])).tolist()
        [True, False]
    """
    sure: Bools = (held.mean(axis=0) >= SURE_SHARE) & held[-1]
    return sure


@dataclass(frozen=True, kw_only=True)
class Part:
    """One operation's part in the change between two layers; ``row`` is its row of the pass."""

    row: int
    kind: str
    decades: float


def account(one: Pass, row: int, sign: int) -> tuple[Part, ...]:
    """Account for the change from the strongest (``sign`` -1) or weakest (1) layer down to ``row``.

    The parts are the ledger's own entries between these two, so their sum is the change of the
    Frobenius norm. Where the gradient becomes exactly zero one part is ``-inf``.
    """
    path = one.path(row)
    nearer = [place for place in path[1:] if one.layers[place] and np.isfinite(one.level[place])]
    if not nearer:
        return ()
    start = min(nearer, key=lambda place: sign * one.level[place])
    parts = []
    for child, parent in pairwise(path):
        if child == start:
            break
        own = float(one.columns["edge_decades"][child])
        parts.append(Part(row=parent, kind=str(one.kind[parent]), decades=own))
        meeting = float(one.columns["junction_decades"][child])
        parts.append(Part(row=child, kind="junction", decades=meeting))
    return tuple(part for part in reversed(parts) if part.decades)


def causes(
    parts: Sequence[Part], sign: int, name: Callable[[Part], str], least: float = 0.05
) -> tuple[Cause, ...]:
    """Share the decades lost (``sign`` -1) or gained (1) among their causes, the largest first.

    ``name`` tells the cause of a part, "" if it has none. Causes with a share under ``least`` are
    left out. An operation that makes the gradient exactly zero outweighs all others.
    """
    sizes: dict[str, float] = {}
    for part in parts:
        if sign * part.decades > 0:
            size = min(sign * part.decades, _INFINITE)
            sizes[name(part)] = sizes.get(name(part), 0.0) + size
    total = sum(sizes.values())
    return tuple(
        Cause(cause=cause, share=round(size / total, 3), evidence=_in_words(size, sign))
        for cause, size in sorted(sizes.items(), key=lambda item: -item[1])
        if cause and size / total >= least
    )


def cause_of_loss(one: Pass, part: Part) -> str:
    """Name the cause of an operation's part in a loss of signal, "" if it is none."""
    if part.kind == "activation":
        if one.columns["dead"][part.row] >= LIMITS.half:
            return "dead-units"
        if one.columns["saturated"][part.row] >= LIMITS.half:
            return "saturation"
        return "inherent-derivative"
    if part.kind == "weights":
        many = one.calls[part.row] >= MANY_CALLS
        return "recurrent-contraction" if many else "weight-scale-too-small"
    return "precision-underflow" if part.kind == "precision" else ""


_INFINITE = 1e3  # decades; no float64 spans more than 633


def _in_words(size: float, sign: int) -> str:
    if size >= _INFINITE:
        return "the gradient becomes exactly zero here"
    return f"{size:.1f} decades {'lost' if sign < 0 else 'gained'}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Starved:
    """The matrices of one flow that the signal hardly reaches.

    ``starved`` and ``still`` are ``[pass, parameter]``: lost three decades or more; moved a
    hundredth or less of the fastest matrix, or got a gradient of exactly zero.
    """

    flow: Flow
    lost: Floats
    starved: Bools
    still: Bools
    pace: Floats

    @property
    def signal(self) -> Bools:
        """Parameters whose signal is lost in most passes and the newest."""
        return mostly(self.starved)

    @property
    def faulty(self) -> Bools:
        """Parameters whose signal is lost and that do not move either."""
        return mostly(self.starved & self.still)


def starvation(facts: Facts, flow: Flow) -> Starved:
    """Find the matrices of ``flow`` that the signal hardly reaches, and those that stand still."""
    lost = np.array([parameter_losses(facts, one) for one in flow.passes])
    starved = lost >= LIMITS.lost_decades
    moved = _moved(facts, flow)
    usable = np.where(np.isnan(lost), np.nan, moved)
    fastest = _largest(np.where(starved, np.nan, usable))
    relative = moved / fastest[:, None]
    with_zero = np.isposinf(lost)
    still = (relative <= LIMITS.pace) | with_zero
    return Starved(flow=flow, lost=lost, starved=starved, still=still, pace=relative)


def _moved(facts: Facts, flow: Flow) -> Floats:
    movement = facts.movement
    nothing = np.full(len(facts.parameters), np.nan)
    rows = [movement.row(one.step) for one in flow.passes]
    return np.array([nothing if row is None else movement.relative_update[row] for row in rows])


def _largest(values: Floats) -> Floats:
    """Return the largest finite entry of each row, NaN if it has none."""
    finite = np.where(np.isfinite(values), values, -np.inf)
    largest = finite.max(axis=1, initial=-np.inf)
    return np.where(np.isfinite(largest) & (largest > 0), largest, np.nan)


def _change(one: Pass, keep: np.ufunc, empty: float) -> Floats:
    """Return, for each layer, the best of its ancestors less its own, by the smaller measure."""
    changes = []
    for size in (one.level, one.rms):
        usable = one.layers & ~np.isnan(size) & ((keep is np.maximum) | np.isfinite(size))
        best = one.over_ancestors(np.where(usable, size, empty), keep, empty)
        # Nothing nearer to the loss, or nothing but zeros: then nothing was lost on the way.
        best = np.where(np.isfinite(best), best, np.where(np.isnan(size), np.nan, size))
        with np.errstate(invalid="ignore"):  # -inf less -inf where the loss's own gradient is zero
            change = np.where(best == size, 0.0, best - size)
        # An expert that no example of this batch was sent to has nothing to lose.
        filled = one.columns["elements"] != 0
        changes.append(np.where(one.layers & filled, change, np.nan))
    lost, rms_lost = changes
    return np.where(np.abs(lost) < np.abs(rms_lost), lost, rms_lost)


def _by_parameter(facts: Facts, one: Pass, changes: Floats) -> Floats:
    changes = np.where(_behind_zeros(facts, one), np.nan, changes)
    found = np.full(len(facts.parameters), np.nan)
    for parameter, owner in one.owners.items():
        if owner >= 0:
            found[parameter] = changes[owner]
    return np.where(facts.matrices, found, np.nan)


def _behind_zeros(facts: Facts, one: Pass) -> Bools:
    """Mark the rows behind an operation all of whose parameters started at zero.

    Residual branches whose last gain starts at zero, LoRA, ReZero: they pass nothing at first by
    design. All of its parameters, since a bias starts at zero everywhere.
    """
    leaves = one.leaves
    if not facts.started_at_zero[one.parameter[leaves]].any():
        return np.zeros(len(one.parent), dtype=bool)
    children = np.bincount(one.parent[one.parent >= 0], minlength=len(one.parent))
    user = one.nearest(one.layers | (children > 1))[leaves]
    started = facts.started_at_zero[one.parameter[leaves]]
    silent = np.zeros(len(one.parent))
    silent[user[(user >= 0) & started]] = 1.0
    silent[user[(user >= 0) & ~started]] = 0.0
    behind: Bools = one.over_ancestors(silent, np.maximum, 0.0) > 0
    return behind
