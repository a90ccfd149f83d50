"""The tables of the peers: other tools' rules on the same records, by the same definitions.

The peers are in `benchmarks/peers/`, as they are what is measured against, and know nothing of the
corpus; what is right of a case is known here. So the corpus imports them, never the other way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from benchmarks.peers import PEERS, Alarm, Peer
from benchmarks.peers.autotrainer import LIMITS as RATIOS

from corpus.judging import CUTS, Judged
from headwater.lab.intervals import Estimate, share

LOUD = 0.1
"""Share of the healthy trainings on which a rule speaks that makes it loud."""

Rows = list[list[str]]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a tool said of one case: related to the fault, anything, a right cause, since when."""

    related: bool
    spoke: bool
    cause: bool
    line: bool | None = None
    at: float | None = None


Hears = Callable[[Judged], Answer]


def of_peer(peer: Peer, only: frozenset[str] | None = None) -> Hears:
    """Return how a peer answers, by all its rules or ``only`` some, whenever in the run."""

    def answer(one: Judged) -> Answer:
        alarms = [
            alarm for alarm in _alarms(one, peer) if only is None or alarm.rule in only
        ]  # fmt: skip
        right = frozenset[str]().union(*(fault.causes for fault in one.case.injected))
        related = [alarm for alarm in alarms if _related(alarm, one)]
        return Answer(
            related=bool(related),
            spoke=bool(alarms),
            cause=any(alarm.causes & right for alarm in alarms),
            at=_part(min(alarm.step for alarm in related), one) if related else None,
        )

    return answer


def at_the_end(one: Judged) -> Answer:
    """Return how Headwater answers of the whole run."""
    return Answer(
        related=one.told is not None, spoke=bool(one.alarms), cause=one.cause_right(1),
        line=one.line_right, at=one.first_alarm,
    )  # fmt: skip


def at_any_cut(one: Judged) -> Answer:
    """Return how Headwater answers if an alarm that it withdrew later counts, too."""
    early = next(
        (cut for cut, said in zip(CUTS, one.early, strict=True) if said & one.codes), None
    )  # fmt: skip
    return Answer(
        related=one.told is not None or early is not None,
        spoke=bool(one.alarms) or any(one.early),
        cause=one.cause_right(1), line=one.line_right,
        at=one.first_alarm if early is None else early,
    )  # fmt: skip


def tools(harmed: Sequence[Judged], healthy: Sequence[Judged]) -> Rows:
    """Return a row for Headwater and for each peer, with all rules and without its loud ones."""
    rows = [
        _row("Headwater, at the end", at_the_end, harmed, healthy),
        _row("Headwater, at any cut", at_any_cut, harmed, healthy),
    ]
    for peer in PEERS:
        rows.append(_row(peer.name, of_peer(peer), harmed, healthy, lines=False))
        quiet = frozenset(rule for rule in peer.meanings if not _loud(peer, rule, healthy))
        if quiet != frozenset(peer.meanings):
            name = f"{peer.name}, {len(quiet)} quiet rules of {len(peer.meanings)}"
            rows.append(_row(name, of_peer(peer, quiet), harmed, healthy, lines=False))
    return rows


def rules(harmed: Sequence[Judged], healthy: Sequence[Judged]) -> Rows:
    """Return a row for each rule of a peer: what it detects, and where it is wrong."""
    rows = []
    for peer in PEERS:
        for rule in peer.meanings:
            hears = of_peer(peer, frozenset({rule}))
            fits = [one for one in harmed if peer.meanings[rule].codes & one.codes]
            rows.append([
                f"{peer.name}: {rule}",
                percent(share(np.array([hears(one).related for one in fits], dtype=bool))),
                percent(share(np.array([hears(one).spoke for one in healthy], dtype=bool))),
            ])  # fmt: skip
    return rows


def left_out() -> list[str]:
    """Return a line for each peer: its source, and the rules that could not be re-stated."""
    return [
        f"{peer.name} ({peer.source}). Left out: "
        + "; ".join(f"{rule}: {why}" for rule, why in peer.left_out.items())
        + "."
        for peer in PEERS
    ]


def known_figures(harmed: Sequence[Judged], healthy: Sequence[Judged]) -> list[str]:
    """Return what the peers are known for, as measured here."""
    heard = [one.peers for one in harmed if one.peers is not None]
    small = [one for one in heard if one.first < RATIOS.first_low]
    level = [one for one in small if not one.ratio < RATIOS.ratio_low]
    ratios = [one.peers.ratio for one in healthy if one.peers is not None]
    finite = [ratio for ratio in ratios if np.isfinite(ratio)]
    lines = [
        f"{peer.name} gives an alarm on "
        + percent(share(np.array([bool(_alarms(one, peer)) for one in healthy], dtype=bool)))
        + " healthy trainings."
        for peer in PEERS
    ]
    lines.append(
        f"AUTOTRAINER's ratio of the first weights' gradient to the last's: of the {len(small)} "
        f"harmful cases whose first gradient ends under its limit of {RATIOS.first_low:g}, "
        f"{len(level)} keep a ratio over {RATIOS.ratio_low:g}, as all gradients are small "
        "alike, and are no vanishing to it."
    )
    lines.append(_informedness(harmed, healthy))
    if finite:
        lines.append(
            f"That ratio at the end of healthy trainings: median {np.median(finite):.2g}, 95 % "
            f"under {np.quantile(finite, 0.95):.2g}, largest {max(finite):.2g}; "
            f"{sum(ratio > RATIOS.ratio_high for ratio in finite)} of {len(finite)} over its limit "
            f"of {RATIOS.ratio_high:g}."
        )
    return lines


def _informedness(harmed: Sequence[Judged], healthy: Sequence[Judged]) -> str:
    """Return for each tool how much oftener it speaks on a fault than on a healthy training."""

    def points(detected: Sequence[bool], alarmed: Sequence[bool]) -> str:
        return f"{100 * (np.mean(detected) - np.mean(alarmed)):.1f}"

    ours = points([bool(one.told) for one in harmed], [bool(one.alarms) for one in healthy])
    theirs = [
        f"{peer.name} "
        + points(
            [any(_related(alarm, one) for alarm in _alarms(one, peer)) for one in harmed],
            [bool(_alarms(one, peer)) for one in healthy],
        )
        for peer in PEERS
    ]
    return (
        "Faults detected less healthy trainings alarmed (Youden's J, in points of 100; who speaks "
        f"always has 0): Headwater {ours}, {', '.join(theirs)}."
    )


def percent(estimate: Estimate) -> str:
    """Return a share with its interval as it stands in a table."""
    if not estimate.count:
        return "none"
    low, high = 100 * estimate.low, 100 * estimate.high
    return f"{100 * estimate.value:.1f} % [{low:.1f}, {high:.1f}] of {estimate.count}"


def _row(
    name: str,
    hears: Hears,
    harmed: Sequence[Judged],
    healthy: Sequence[Judged],
    *,
    lines: bool = True,
) -> list[str]:
    answers = [hears(one) for one in harmed]
    marked = [one.line for one in answers if one.line is not None]
    at = [one.at for one in answers if one.at is not None]
    shares = (
        [one.related for one in answers], [one.spoke for one in answers],
        [hears(one).spoke for one in healthy], [one.cause for one in answers],
    )  # fmt: skip
    return [
        name,
        *(percent(share(np.array(values, dtype=bool))) for values in shares),
        percent(share(np.array(marked, dtype=bool))) if lines else "names none",
        f"{100 * np.median(at):.0f} %" if at else "none",
    ]


def _alarms(one: Judged, peer: Peer) -> Sequence[Alarm]:
    return one.peers.alarms[peer.name] if one.peers is not None else ()


def _related(alarm: Alarm, one: Judged) -> bool:
    causes = frozenset[str]().union(*(fault.causes for fault in one.case.injected))
    return bool(alarm.codes & one.codes or alarm.causes & causes)


def _loud(peer: Peer, rule: str, healthy: Sequence[Judged]) -> bool:
    said = [any(alarm.rule == rule for alarm in _alarms(one, peer)) for one in healthy]
    return bool(said) and sum(said) > LOUD * len(said)


def _part(step: int, one: Judged) -> float:
    """Return the first cut that has a step in it, as Headwater's first alarms are told."""
    steps = one.case.recipe.steps * (2 if one.case.recipe.network == "gan" else 1)
    return next((cut for cut in CUTS if step <= int(cut * steps)), 1.0)
