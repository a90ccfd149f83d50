"""What number formats make of the newest sample, and expressions that have a stable form."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow.compute as pc
from rich.text import Text

from headwater.records import Spectrum
from headwater.reports.annotate import short_path, spot
from headwater.reports.cells import clean, fit, paragraph
from headwater.reports.numbers import share
from headwater.reports.view import ExpressionRow, FormatRow, FormatShares, Precision
from headwater.runs.spectra import (
    NEWEST,
    Made,
    Spectra,
    gradient_dtypes,
    gradients,
    outputs,
)
from headwater.theory.precision import is_format
from headwater.theory.spectrum import (
    FORECASTS,
    Shares,
    explain_shares,
    merged,
    own_shares,
    shares,
)

if TYPE_CHECKING:
    from headwater.runs.reader import Run

_FORMAT, _CELL = 17, 6
_NAMES = ("zero", "subn.", "near")


def precision(run: Run, step: int | None = None) -> Precision | None:
    """Return what the newest sample with counts (or that of a step) says; None without counts.

    A sample of nothing but NaN tells nothing of formats, so the newest is one with a number in it.
    """
    newest = NEWEST if step is None else 1
    after = None if step is None else step + 1
    found = gradients(run, after, newest)
    made = outputs(run, after, newest)
    at = _telling(found, made)
    if at is None or (step is not None and at != step):
        return None
    raw = found.get(at, {})
    mine = {index: _unscaled(run, at, one) for index, one in raw.items()}
    own = gradient_dtypes(run)
    used = {index: own.get(index, "") for index in mine}
    put_out = [one for one in made if one.step == at]
    return Precision(
        step=at,
        parameters=len(mine),
        outputs=len({one.site for one in put_out}),
        rows=(*_used(raw, used, put_out), *_forecasts(mine, used, put_out)),
        said=_said(run, mine, used),
    )


def _telling(found: Spectra, made: Sequence[Made]) -> int | None:
    """Return the newest step with a finite entry, the newest of all if none has; None if empty."""
    seen = [(step, one) for step, ones in found.items() for one in ones.values()]
    seen += [(one.step, one.spectrum) for one in made]
    steps = [step for step, one in seen if one.total > one.nonfinite]
    return max(steps, default=max((step for step, _ in seen), default=None))


def _used(
    raw: Mapping[int, Spectrum], used: Mapping[int, str], made: Sequence[Made]
) -> Iterator[FormatRow]:
    """Yield the formats that are used, with what is in them: the loss scale included."""
    for name in _names(used, made):
        yield FormatRow(
            format=name,
            used=True,
            gradients=_own([raw[index] for index in raw if used[index] == name], name),
            outputs=_own([one.spectrum for one in made if one.dtype == name], name),
        )


def _forecasts(
    mine: Mapping[int, Spectrum], used: Mapping[int, str], made: Sequence[Made]
) -> Iterator[FormatRow]:
    """Yield the other formats, with what they would make of everything, without a loss scale."""
    for name in FORECASTS:
        if name not in _names(used, made):
            yield FormatRow(
                format=name,
                used=False,
                gradients=_forecast(list(mine.values()), name),
                outputs=_forecast([one.spectrum for one in made], name),
            )


def _names(used: Mapping[int, str], made: Sequence[Made]) -> list[str]:
    names = [*used.values(), *(one.dtype for one in made)]
    return [name for name in dict.fromkeys(names) if is_format(name)]


def _own(spectra: Sequence[Spectrum], dtype: str) -> FormatShares | None:
    return _shares(own_shares(merged(spectra), dtype)) if spectra else None


def _forecast(spectra: Sequence[Spectrum], dtype: str) -> FormatShares | None:
    return _shares(shares(merged(spectra), dtype)) if spectra else None


def _shares(found: Shares) -> FormatShares:
    return FormatShares(zero=found.zero, subnormal=found.subnormal, near_largest=found.near_largest)


def _unscaled(run: Run, step: int, spectrum: Spectrum) -> Spectrum:
    """Take the loss scale out, which is a power of 2."""
    rows = run.pulse.filter(pc.equal(run.pulse["step"], step))["loss_scale"].to_pylist()
    scale = rows[0] if rows else None
    if scale is None or not 0 < scale < math.inf:
        return spectrum
    return spectrum.scaled(-round(math.log2(scale)))


def _said(run: Run, mine: Mapping[int, Spectrum], used: Mapping[int, str]) -> tuple[str, ...]:
    """Say what float16 would do to the gradient that it would cost most; nothing to half ones."""
    lost = {
        index: shares(one, "float16").flushed
        for index, one in mine.items()
        if used[index] in ("float32", "float64", "bfloat16") and one.total
    }
    if not lost or max(lost.values()) == 0:
        return ()
    worst = max(lost, key=lambda index: lost[index])
    what = f"gradient of {run.parameters[worst].name}"
    said = explain_shares(mine[worst], "float16").replace("this gradient", f"the {what}", 1)
    return (said[:1].upper() + said[1:],)


def expressions(run: Run) -> tuple[ExpressionRow, ...]:
    """Return the expressions of the user's lines that have a stable form, by line."""
    found = {}
    for one in run.info.expressions:
        if 0 <= one.site < len(run.sites):
            file, line = spot(run.sites[one.site])
            row = ExpressionRow(expression=one.expression, stable=one.stable, file=file, line=line)
            found[file, line, one.expression] = row
    return tuple(found[key] for key in sorted(found))


def precision_lines(seen: Precision, width: int) -> Iterator[Text]:
    """Return the table of formats: shares of entries, of gradients and of outputs."""
    yield Text(fit(f"precision at step {seen.step}, shares of entries", width), style="bold")
    groups = [
        (f"gradients ({seen.parameters})", [row.gradients for row in seen.rows]),
        (f"outputs ({seen.outputs})", [row.outputs for row in seen.rows]),
    ]
    groups = [(title, cells) for title, cells in groups if any(cells)]
    span = len(_NAMES) * (_CELL + 1)
    titles = "".join(f"  {title:<{span - 1}}" for title, _ in groups)
    heads = "".join(" " + "".join(f" {name:>{_CELL}}" for name in _NAMES) for _ in groups)
    yield Text(fit(" " * _FORMAT + titles.rstrip(), width), style="dim")
    yield Text(fit(f"{'format':<{_FORMAT}}" + heads, width), style="dim")
    for place, row in enumerate(seen.rows):
        cells = "".join(" " + _cells(column[place]) for _, column in groups)
        name = f"{row.format}{' (used)' if row.used else ''}"
        yield Text(
            fit(f"{name:<{_FORMAT}}{cells}".rstrip(), width), style="" if row.used else "dim"
        )
    for text in seen.said:
        yield from paragraph(clean(text) + ".", width)


def _cells(found: FormatShares | None) -> str:
    if found is None:
        return " " * (len(_NAMES) * (_CELL + 1))
    figures = (found.zero, found.subnormal, found.near_largest)
    return "".join(f" {share(figure):>{_CELL}}" for figure in figures)


def expression_lines(
    rows: Sequence[ExpressionRow], width: int, folders: Sequence[str] = ()
) -> Iterator[Text]:
    """Return each expression with its line and the call to type instead."""
    yield Text("expressions with a stable form", style="bold")
    for row in rows:
        place = f"{short_path(row.file, folders)}:{row.line}" if row.line else row.file
        said = f"{place}  {row.expression}: type {row.stable}"
        yield from paragraph(clean(said), width, indent=2, hang=4)
