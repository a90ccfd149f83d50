"""The record's exponent counts: gradients and outputs of the newest samples as spectra."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from headwater.records import Spectrum

if TYPE_CHECKING:
    import pyarrow as pa

    from headwater.runs.reader import Run

NEWEST = 5
"""Samples whose counts are read: a fault that is there is there in most of them."""


def spectrum_of(row: Mapping[str, Any], what: str) -> Spectrum | None:
    """Return the counts of a row of ``parameters.arrow`` (gradient) or ``sites.arrow`` (output)."""
    counts = row[f"{what}_counts"]
    if counts is None:
        return None
    largest = row["gradient_max" if what == "gradient" else "output_largest"]
    known = largest is not None and math.isfinite(largest)
    return Spectrum(
        first=row[f"{what}_exponent"] or 0,
        counts=tuple(count or 0 for count in counts),
        zeros=row[f"{what}_zeros"] or 0,
        nonfinite=row[f"{what}_nonfinites"] or 0,
        largest=largest if known else 0.0,
    )


_COUNTS = ("exponent", "counts", "zeros", "nonfinites")
_GRADIENT = ("step", "parameter", "gradient_max", *(f"gradient_{name}" for name in _COUNTS))
_OUTPUT = ("step", "site", "output_dtype", "output_largest", *(f"output_{n}" for n in _COUNTS))


def gradients(run: Run, before: int | None = None, newest: int = NEWEST) -> Spectra:
    """Return the raw gradients' spectra of the newest samples: step -> parameter -> spectrum.

    Args:
        run: The run.
        before: Only of samples before this step.
        newest: At most so many samples.
    """
    table = _newest(run.parameter_rows, "gradient_counts", before, newest)
    found: dict[int, dict[int, Spectrum]] = {}
    for row in table.select(_GRADIENT).to_pylist():
        spectrum = spectrum_of(row, "gradient")
        if spectrum is not None and row["parameter"] is not None:
            found.setdefault(row["step"], {})[row["parameter"]] = spectrum
    return found


@dataclass(frozen=True, kw_only=True)
class Made:
    """What one operation put out at a sample, and in which dtype."""

    step: int
    site: int
    dtype: str
    spectrum: Spectrum


def outputs(run: Run, before: int | None = None, newest: int = NEWEST) -> Sequence[Made]:
    """Return the outputs of the newest samples, one for each call of an operation."""
    table = _newest(run.site_rows, "output_counts", before, newest)
    found = []
    for row in table.select(_OUTPUT).to_pylist():
        spectrum = spectrum_of(row, "output")
        if spectrum is not None and row["output_dtype"] is not None and row["site"] is not None:
            found.append(
                Made(
                    step=row["step"],
                    site=row["site"],
                    dtype=row["output_dtype"],
                    spectrum=spectrum,
                )
            )
    return found


Row = Mapping[str, Any]
Spectra = Mapping[int, Mapping[int, Spectrum]]


def _newest(table: pa.Table, column: str, before: int | None, newest: int) -> pa.Table:
    table = table.filter(pc.is_valid(table[column]))
    if before is not None:
        table = table.filter(pc.less(table["step"], before))
    steps = sorted(pc.unique(table["step"]).to_pylist())
    if len(steps) <= newest:
        return table
    return table.filter(pc.greater_equal(table["step"], steps[-newest]))


@dataclass(frozen=True, kw_only=True)
class Cast:
    """A gradient on its way back through a cast: its change in decades, of one that was not 0."""

    step: int
    site: int
    before: str
    after: str
    decades: float


def gradient_dtypes(run: Run) -> Mapping[int, str]:
    """Return in which dtype each parameter's gradient is made; its own where nothing else is known.

    Under autocast the gradient of a float32 weight comes from a float16 operation, by a cast.
    """
    found = {index: info.dtype for index, info in enumerate(run.parameters)}
    for row, cast in _below_casts(run, None):
        if row["parameter"] is not None:
            found[row["parameter"]] = cast["dtype"]
    return found


def casts(run: Run, before: int | None = None) -> Sequence[Cast]:
    """Return what casts did to the gradient in the newest samples before a step."""
    return [
        Cast(
            step=row["step"],
            site=cast["site"],
            before=cast["dtype"],
            after=row["dtype"],
            decades=row["edge_decades"],
        )
        for row, cast in _below_casts(run, before)
        if row["dtype"] is not None
        and row["parameter"] is None
        and row["edge_decades"] is not None
        and cast["level"] is not None
        and math.isfinite(cast["level"])
    ]


def greatest_norm(run: Run, dtypes: Collection[str], before: int | None = None) -> float:
    """Return the largest norm of a gradient in some formats, in the newest samples; 0 for none.

    No entry of any of them is larger, those within the network included.
    """
    table = _newest(run.site_rows, "dtype", before, NEWEST)
    rows = table.select(("dtype", "level")).to_pylist()
    levels = [
        row["level"]
        for row in rows
        if row["dtype"] in dtypes and row["level"] is not None and row["level"] < _MOST_DECADES
    ]
    return float(10.0 ** max(levels, default=-math.inf))


_MOST_DECADES = 300  # of a float; NaN is not below it
_TREE = ("step", "backward", "node", "parent", "site", "parameter", "dtype", "level")


def _below_casts(run: Run, before: int | None) -> Sequence[tuple[Row, Row]]:
    """Return the rows below a cast, each with the cast's own, of the newest samples."""
    table = _newest(run.site_rows, "dtype", before, NEWEST)
    rows = table.select((*_TREE, "edge_decades")).to_pylist()
    operations = [site.operation for site in run.sites]
    found = {
        (row["step"], row["backward"], row["node"]): row
        for row in rows
        if row["site"] is not None and operations[row["site"]] == "ToCopy"
    }
    places = [(row["step"], row["backward"], row["parent"]) for row in rows]
    return [(row, found[place]) for row, place in zip(rows, places, strict=True) if place in found]
