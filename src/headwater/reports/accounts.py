"""The account of one parameter: where each decade went between the loss and it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from headwater.errors import NotRecordedError
from headwater.records import Kind, LedgerEntry
from headwater.reports.annotate import home_folders, short_path, spot
from headwater.runs.info import plain

if TYPE_CHECKING:
    from headwater.runs.ledger import Ledger
    from headwater.runs.reader import Run


@dataclass(frozen=True, kw_only=True)
class AccountRow:
    """One entry: where, what, how many decades, and the sum from the loss down to here."""

    file: str
    shown_as: str
    line: int
    module: str
    operation: str
    kind: Kind
    calls: int
    decades: float
    running: float


@dataclass(frozen=True, kw_only=True)
class Account:
    """Entries from the loss on; ``total`` is their sum, ``measured`` what the norms say."""

    parameter: str
    step: int
    backward: int
    rows: tuple[AccountRow, ...]
    by_kind: tuple[tuple[Kind, float], ...]
    total: float
    measured: float

    @property
    def difference(self) -> float:
        """What the account misses, in decades; 0 where both are exactly zero or not finite."""
        if math.isfinite(self.total) and math.isfinite(self.measured):
            return self.total - self.measured
        both_nan = math.isnan(self.total) and math.isnan(self.measured)
        return 0.0 if both_nan or self.total == self.measured else math.nan

    def to_json(self) -> dict[str, Any]:
        """Return plain data; numbers that JSON lacks become ``"nan"``, ``"inf"`` and ``"-inf"``."""
        data: dict[str, Any] = plain(
            {**asdict(self), "by_kind": dict(self.by_kind), "difference": self.difference}
        )
        return data


def account(run: Run, parameter: str, step: int | None = None) -> Account:
    """Return the account of a parameter at ``step``, or at the newest sample that has one.

    Raises:
        NotRecordedError: No backward pass there reached the parameter.
    """
    ledger = _ledger(run, parameter, step)
    entries = ledger.entries(parameter)
    running = accumulate(entry.decades for entry in entries)
    kinds = sorted(ledger.by_kind(parameter).items(), key=lambda item: -_size(item[1]))
    return Account(
        parameter=parameter,
        step=ledger.step,
        backward=ledger.backward,
        rows=tuple(
            _row(entry, so_far, home_folders(run.info))
            for entry, so_far in zip(entries, running, strict=True)
        ),
        by_kind=tuple(kinds),
        total=ledger.decades(parameter),
        measured=ledger.measured(parameter),
    )


def _row(entry: LedgerEntry, running: float, folders: Sequence[str]) -> AccountRow:
    file, line = spot(entry.site)
    return AccountRow(
        file=file,
        shown_as=short_path(file, folders),
        line=line,
        module=entry.site.module,
        operation=entry.site.operation,
        kind=entry.kind,
        calls=entry.calls,
        decades=entry.decades,
        running=running,
    )


def _size(decades: float) -> float:
    return abs(decades) if math.isfinite(decades) else math.inf


def _ledger(run: Run, parameter: str, step: int | None) -> Ledger:
    """Return the newest ledger that reaches the parameter; a GAN's steps reach different ones."""
    known = [index for index, info in enumerate(run.parameters) if info.name == parameter]
    if not known:
        names = [info.name for info in run.parameters]
        near = difflib.get_close_matches(parameter, names, n=3) or names[:3]
        hint = f"nearest: {', '.join(map(repr, near))}" if near else "it names none"
        raise NotRecordedError(f"parameter {parameter!r}", hint)
    rows = run.site_rows
    rows = rows.filter(pc.is_in(rows["parameter"], value_set=pa.array(known, pa.int32())))
    if step is not None:
        rows = rows.filter(pc.equal(rows["step"], step))
    if rows.num_rows == 0:
        at = "" if step is None else f" at step {step}"
        raise NotRecordedError(
            f"account of parameter {parameter!r}{at}",
            "no sampled backward pass reached it there (`headwater show --parameters` lists all)",
        )
    newest = pc.max(rows["step"]).as_py()
    backward = pc.min(rows.filter(pc.equal(rows["step"], newest))["backward"]).as_py()
    return run.ledger(newest, backward)
