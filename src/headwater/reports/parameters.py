"""The parameters: gradient, relative update, updates lost to rounding; alike ones folded."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from headwater.reports.view import ParameterRow

if TYPE_CHECKING:
    from headwater.records import ParameterInfo
    from headwater.runs.reader import Run

_NUMBER = re.compile(r"(?<![^.])\d+(?![^.])")

Row = Mapping[str, Any]


def parameter_rows(run: Run, step: int | None = None, most: int = 60) -> tuple[ParameterRow, ...]:
    """Return a row a parameter, each at its newest sampled step or at ``step``.

    With more than ``most`` parameters (0: no limit) those of one shape whose names differ only in
    numbers, such as ``blocks.0.fc.weight`` and ``blocks.1.fc.weight``, are folded.
    """
    table = run.parameter_rows
    if step is not None:
        table = table.filter(pc.equal(table["step"], step))
    names = (
        "step",
        "parameter",
        "unscaled_norm",
        "raw_norm",
        "relative_update",
        "lost_share",
        "nonfinite_share",
    )
    newest: dict[int, Row] = {}
    for row in table.select(names).to_pylist():
        known = newest.get(row["parameter"])
        if known is None or row["step"] >= known["step"]:
            newest[row["parameter"]] = row
    rows = [_row(parameter, newest.get(index)) for index, parameter in enumerate(run.parameters)]
    return tuple(rows if not most or len(rows) <= most else _folded(rows))


def _row(parameter: ParameterInfo, row: Row | None) -> ParameterRow:
    got: Row = row or {}
    norm = got.get("unscaled_norm")
    return ParameterRow(
        name=parameter.name,
        count=1,
        shape=parameter.shape,
        step=got.get("step"),
        gradient_norm=got.get("raw_norm") if norm is None else norm,
        relative_update=got.get("relative_update"),
        lost_share=got.get("lost_share"),
        nonfinite_share=got.get("nonfinite_share"),
        remark=_remark(parameter),
    )


def _remark(parameter: ParameterInfo) -> str:
    if not parameter.requires_grad:
        return "requires no gradient"
    if not parameter.got_gradient:
        return "no gradient reached it"
    return "" if parameter.optimiser is not None else "in no optimiser"


def _folded(rows: Sequence[ParameterRow]) -> list[ParameterRow]:
    alike: dict[tuple[str, str, tuple[int, ...]], list[ParameterRow]] = {}
    for row in rows:
        alike.setdefault((_NUMBER.sub("*", row.name), row.remark, row.shape), []).append(row)
    return [
        group[0]
        if len(group) == 1
        else replace(min(group, key=_update), name=pattern, count=len(group))
        for (pattern, _, _), group in alike.items()
    ]


def _update(row: ParameterRow) -> float:
    """Order by how little a parameter moves; one that is not finite comes first of all."""
    update = row.relative_update
    if update is None:
        return math.inf
    return -1.0 if math.isnan(update) else update
