"""What a peer is: rules that hear a record, and what each of their alarms can mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.peers.columns import Columns


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What an alarm of a peer's rule can mean, as widely as its words allow.

    ``codes`` are the symptoms it has any relation to, ``causes`` the causes that its words name;
    empty where they name none. ``why`` is the reason for both.
    """

    codes: frozenset[str]
    causes: frozenset[str] = frozenset()
    why: str


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """A rule of a peer spoke: which one, and at which step first."""

    rule: str
    step: int
    codes: frozenset[str]
    causes: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Another tool, re-stated: ``hears`` returns the first step of each of its rules' alarms.

    ``left_out`` has the rules that the record cannot restate, and why.
    """

    name: str
    source: str
    meanings: Mapping[str, Meaning]
    hears: Callable[[Columns], Mapping[str, int]]
    left_out: Mapping[str, str]

    def judge(self, columns: Columns) -> tuple[Alarm, ...]:
        """Return its alarms, first ones first."""
        heard = sorted(self.hears(columns).items(), key=lambda item: (item[1], item[0]))
        return tuple(
            Alarm(
                rule=rule,
                step=step,
                codes=self.meanings[rule].codes,
                causes=self.meanings[rule].causes,
            )
            for rule, step in heard
        )


def meaning(codes: str, causes: str = "", *, why: str) -> Meaning:
    """Return a meaning from names with spaces between."""
    return Meaning(codes=frozenset(codes.split()), causes=frozenset(causes.split()), why=why)


def stated(value: float, source: str) -> Any:
    """Return a dataclass's field for a threshold, with the place that states it."""
    return field(default=value, metadata={"source": source})
