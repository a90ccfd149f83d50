"""The two tables beside the annotated source: the parameters, and one parameter's account."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.text import Text

from headwater.reports.accounts import Account, AccountRow
from headwater.reports.bars import axis, bar
from headwater.reports.cells import clean, fit, pad
from headwater.reports.columns import total_style
from headwater.reports.numbers import KIND_WORDS, decades, norm, per_call, share
from headwater.reports.view import ParameterRow

_BAR = 16


def parameter_lines(rows: Sequence[ParameterRow], width: int) -> Iterator[Text]:
    """Return the parameters: gradient norm, update over weight, share of updates lost."""
    yield Text("parameters", style="bold")
    yield Text(f"{'gradient':>9} {'update':>8} {'lost':>4}  name", style="dim")
    for row in rows:
        lost = share(row.lost_share) if row.lost_share else ""
        cells = f"{norm(row.gradient_norm):>9} {norm(row.relative_update):>8} {lost:>4}  "
        line = Text(cells)
        shape = "×".join(map(str, row.shape))
        count = f" ({row.count} alike, the slowest shown)" if row.count > 1 else ""
        detail = f"  {shape}{count}"
        remark = f"  {row.remark}" if row.remark else ""
        room = max(width - len(cells) - len(detail) - len(remark), 16)
        line.append(fit(clean(row.name), room, keep="end"))
        line.append(detail, "dim")
        line.append(remark, "yellow")
        line.truncate(width, overflow="ellipsis")
        yield line


def account_lines(account: Account, width: int) -> Iterator[Text]:
    """Return the account of one parameter, from the loss on, and that it adds up."""
    which = f", backward pass {account.backward}" if account.backward else ""
    title = f"account of {clean(account.parameter)} at step {account.step}{which}"
    yield Text(fit(title, width), style="bold")
    yield Text(fit("decades (log10) from the loss down to the parameter", width), style="dim")
    low, high = _span(account)
    yield Text(
        f"{axis(low, high, _BAR)} {'sum':>7} {'entry':>7} {'calls×each':>10} {'kind':7} where",
        style="dim",
    )
    before = 0.0
    for row in account.rows:
        yield _account_row(row, before, low, high, width)
        before = row.running
    yield Text()
    kinds = ", ".join(f"{kind} {decades(value)}" for kind, value in account.by_kind)
    yield Text(fit(f"by kind: {kinds}", width))
    total, measured = (decades(value, 6) for value in (account.total, account.measured))
    yield Text(
        fit(f"sum {total} = measured {measured} (difference {account.difference:.1e})", width),
        style="bold",
    )


def _account_row(row: AccountRow, before: float, low: float, high: float, width: int) -> Text:
    line = Text()
    for piece, style in bar(before, row.running, low, high, _BAR):
        line.append(piece, style)
    line.append(f" {decades(row.running):>7} ")
    line.append(f"{decades(row.decades):>7}", total_style(row.decades))
    line.append(f" {per_call(row.calls, row.decades / row.calls):>10} ")
    line.append(pad(KIND_WORDS[row.kind], 7) + " ", "cyan")
    place = f"{row.shown_as}:{row.line}" if row.line else ""
    name = " ".join(part for part in (place, row.module, row.operation) if part)
    line.append(fit(clean(name), width - line.cell_len, keep="end"))
    line.rstrip()
    return line


def _span(account: Account) -> tuple[float, float]:
    levels = [0.0, *(row.running for row in account.rows if math.isfinite(row.running))]
    high = math.ceil(max(levels))
    return float(min(math.floor(min(levels)), high - 6)), float(high)
