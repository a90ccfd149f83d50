"""The two tables beside the annotated source: the parameters, and one parameter's account."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.text import Text

from headwater.reports.accounts import Account, AccountRow
from headwater.reports.bars import Scale, bar
from headwater.reports.cells import clean, fit, fit_line, pad, paragraph
from headwater.reports.columns import total_style
from headwater.reports.numbers import KIND_WORDS, decades, norm, per_call, share
from headwater.reports.view import ParameterRow

_BAR = 16
_UPDATES = Scale(low=-10.0, high=0.0, width=10)
"""Decades of the updates' bars; below about -7.2 a float32 weight stands still."""


def parameter_lines(rows: Sequence[ParameterRow], width: int) -> Iterator[Text]:
    """Return the parameters: gradient norm, update over weight, share of updates lost."""
    yield Text("parameters", style="bold")
    if any(row.count > 1 for row in rows):
        yield from paragraph("of alike ones (×n) the one that moves least", width, style="dim")
    yield Text(f"{'gradient':>8} {'update':>8} {_UPDATES.axis()} {'lost':>4}  name", style="dim")
    for row in rows:
        yield _parameter_row(row, width)


def _parameter_row(row: ParameterRow, width: int) -> Text:
    line = Text(f"{norm(row.gradient_norm):>8} {norm(row.relative_update):>8} ")
    update = _log10(row.relative_update)
    for piece, style in bar(update, update, _UPDATES):
        line.append(piece, style)
    line.append(f" {share(row.lost_share) if row.lost_share else '':>4}  ")
    count = f" ×{row.count}" if row.count > 1 else ""
    detail = f"{count}  {'×'.join(map(str, row.shape)) or 'scalar'}"
    remark = f"  {row.remark}" if row.remark else ""
    room = max(width - line.cell_len - len(detail) - len(remark), 16)
    line.append(fit(clean(row.name), room, keep="end"))
    line.append(detail, "dim")
    line.append(remark, "yellow")
    return fit_line(line, width)


def _log10(value: float | None) -> float | None:
    if value is None or not value > 0:
        return None if value is None else -math.inf if value == 0 else math.nan
    return math.log10(value)


def account_lines(account: Account, width: int) -> Iterator[Text]:
    """Return the account of one parameter, from the loss on, and that it adds up."""
    which = f", backward pass {account.backward}" if account.backward else ""
    title = f"account of {clean(account.parameter)} at step {account.step}{which}"
    yield Text(fit(title, width), style="bold")
    yield Text(fit("decades (log10) from the loss down to the parameter", width), style="dim")
    scale = _scale(account)
    calls = max((len(_calls(row)) for row in account.rows), default=0)
    calls = max(calls, 10) + 1 if calls else 0
    heading = f"{scale.axis()} {'sum':>7} {'entry':>7} "
    heading += f"{pad('calls×each', calls - 1, align='right')} " if calls else ""
    yield Text(f"{heading}{'kind':7} where", style="dim")
    before = 0.0
    for row in account.rows:
        line = Text()
        for piece, style in bar(before, row.running, scale):
            line.append(piece, style)
        line.append(f" {decades(row.running):>7} ")
        line.append(f"{decades(row.decades):>7} ", total_style(row.decades))
        line.append(f"{pad(_calls(row), calls - 1, align='right')} " if calls else "")
        line.append(pad(KIND_WORDS[row.kind], 7) + " ", "cyan")
        line.append_text(_where(row, width - line.cell_len))
        yield line
        before = row.running
    yield Text()
    yield from _sums(account, width)


def _sums(account: Account, width: int) -> Iterator[Text]:
    kinds = ", ".join(f"{kind} {decades(value)}" for kind, value in account.by_kind)
    yield from paragraph(f"by kind: {kinds}", width, hang=2)
    total, measured = (decades(value, 6) for value in (account.total, account.measured))
    difference = f"(difference {account.difference:.0e})"
    yield Text(fit(f"sum {total} = measured {measured} {difference}", width), style="bold")


def _calls(row: AccountRow) -> str:
    return per_call(row.calls, row.decades / row.calls)


def _where(row: AccountRow, width: int) -> Text:
    place = f"{row.shown_as}:{row.line}" if row.line else ""
    text = Text(fit(clean(place), width // 2, keep="end"))
    if row.module:
        text.append(" " + fit(clean(row.module), width - text.cell_len - 1, keep="end"), "cyan")
    left = width - text.cell_len - 1
    return text.append(f" {fit(row.operation, left)}", "dim") if left >= 4 else text


def _scale(account: Account) -> Scale:
    levels = [0.0, *(row.running for row in account.rows if math.isfinite(row.running))]
    high = math.ceil(max(levels))
    return Scale(low=min(math.floor(min(levels)), high - 6), high=high, width=_BAR)
