"""The columns left of the source: which are needed, how wide they are, what stands in them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from rich.text import Text

from headwater.reports.bars import NOTABLE, Scale, bar
from headwater.reports.cells import clean, fit, pad
from headwater.reports.numbers import KIND_WORDS, decades, per_call, share
from headwater.reports.view import Flow, Measure

_TOTAL, _KIND, _LEVEL, _SHARE = 6, 7, 6, 4
_BAR_NARROW, _BAR, _BAR_WIDE = 10, 16, 24
_CALLS, _CALLS_MOST = 10, 14
_SOURCE = 36  # cells the source should have before the bar gets more than it needs
_SOURCE_LEAST = 12


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Widths in cells, 0 for a column that this flow or this terminal does not need."""

    number: int
    scale: Scale
    level: int
    total: int
    calls: int
    kind: int
    dead: int
    saturated: int
    source: int

    def heading(self) -> str:
        """Return the names of the columns, with the scale over the bars."""
        cells = [
            pad("line", self.number, align="right"),
            self.scale.axis(),
            pad("level", self.level, align="right"),
            pad("total", self.total, align="right"),
            pad("calls×each", self.calls, align="right"),
            pad("kind", self.kind),
            pad("dead", self.dead, align="right"),
            pad("sat", self.saturated, align="right"),
            "source",
        ]
        return " " + " ".join(cell for cell in cells if cell)

    def line(
        self,
        number: str,
        measure: Measure | None,
        source: Text,
        mark: str = "",
        mark_style: str = "",
    ) -> Text:
        """Return one line: the mark, the line number, the measured columns, the source."""
        line = Text.assemble(
            (pad(mark, 1), mark_style), (pad(number, self.number, align="right"), "dim"), " "
        )
        if measure is None:
            line.append(" " * (self._measured() + 1))
        else:
            for piece, style in self._cells(measure):
                line.append(piece, style)
        line.append_text(source)
        line.rstrip()
        return line

    def _measured(self) -> int:
        widths = (
            self.scale.width,
            self.level,
            self.total,
            self.calls,
            self.kind,
            self.dead,
            self.saturated,
        )
        return sum(width + 1 for width in widths if width) - 1

    def _cells(self, measure: Measure) -> Iterator[tuple[str, str]]:
        yield from bar(measure.level_in, measure.level_out, self.scale, own=_own(measure))
        yield " ", ""
        dead, saturated = measure.dead, measure.saturated
        kind = KIND_WORDS[measure.kinds[0]] if measure.kinds else ""
        for width, text, style, align in (
            (self.level, decades(measure.level_out, 1), "", "right"),
            (self.total, decades(measure.total), total_style(measure.total), "right"),
            (self.calls, per_call(measure.calls, measure.gain), "", "right"),
            (self.kind, kind, "cyan", "left"),
            (self.dead, share(dead), share_style(dead, 0.5), "right"),
            (self.saturated, share(saturated), share_style(saturated, 0.9), "right"),
        ):
            if width:
                yield pad(text, width, align=align), style
                yield " ", ""


def _own(measure: Measure) -> bool:
    """Whether most of the way from ``level_in`` to ``level_out`` is the place's own doing."""
    if measure.level_in is None or measure.level_out is None or measure.total is None:
        return False
    way = measure.level_out - measure.level_in
    return not abs(measure.total) < abs(way) / 2  # true for nan


def columns(flow: Flow, width: int) -> Columns:
    """Choose the columns for a flow on a screen of ``width`` cells."""
    lines = [line for source in flow.sources for line in source.lines]
    measures = [line.measure for line in lines if line.measure]
    measures += [row.measure for line in lines for row in line.rows]
    number = max([4, *(len(str(line.number)) for line in lines)])
    calls = max((len(per_call(m.calls, m.gain)) for m in measures), default=0)
    wanted = {
        "saturated": _SHARE * any((m.saturated or 0) >= 0.005 for m in measures),
        "dead": _SHARE * any((m.dead or 0) >= 0.005 for m in measures),
        "kind": _KIND,
        "calls": min(max(calls, _CALLS), _CALLS_MOST) if calls else 0,
    }
    room = width - number - _TOTAL - 4
    for name in wanted:  # the least needed first
        if room - sum(size + 1 for size in wanted.values() if size) < _BAR_NARROW + _SOURCE_LEAST:
            wanted[name] = 0
    room -= sum(size + 1 for size in wanted.values() if size)
    level = _LEVEL if room >= _SOURCE + _BAR_WIDE + _LEVEL + 1 else 0
    room -= level + 1 if level else 0
    length = min(max(room - _SOURCE, _BAR_NARROW), _BAR_WIDE if room > 76 else _BAR)
    return Columns(
        number=number,
        scale=Scale(low=flow.low, high=flow.high, width=length),
        level=level,
        total=_TOTAL,
        source=room - length,
        **wanted,
    )


def total_style(total: float | None) -> str:
    """Return the colour of a change: red where gradient is lost, magenta where it grows."""
    if total is None or abs(total) < 0.05:
        return "dim"
    if math.isnan(total):
        return "bold red"
    if abs(total) < NOTABLE:
        return ""
    return ("bold " if abs(total) >= 1 else "") + ("red" if total < 0 else "magenta")


def share_style(value: float | None, much: float) -> str:
    """Return the colour of a dead or saturated share, red from ``much`` on.

    Half of a healthy ReLU's entries have no derivative, but hardly any of its units is dead.
    """
    if value is None or value < 0.05:
        return "dim"
    return "red" if value >= much else ""


def source_text(text: str | None, width: int, *, style: str = "") -> Text:
    """Return a line of source on ``width`` cells, its indentation halved to save room.

    Example:
        >>> source_text("        x = f(x)", 20).plain
        '    x = f(x)'
    """
    if text is None:
        return Text(fit("(source not available)", width), style="dim italic")
    line = clean(text).rstrip()
    body = line.lstrip(" ")
    indent = " " * ((len(line) - len(body)) // 2)
    return Text(fit(indent + body, width), style=style)
