"""The record's exponent counts as spectra, and the largest outputs as series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from headwater.rules.passes import Floats, Ints, indices, numbers
from headwater.theory.precision import EIGHT_BITS, FORMATS
from headwater.theory.spectrum import Spectrum

if TYPE_CHECKING:
    import pyarrow as pa

    from headwater.runs.reader import Run

NEWEST = 5
"""Samples whose counts are read: a fault that is there is there in most of them."""


def is_format(name: str | None) -> bool:
    """Whether a dtype is a number format that is known here."""
    return name in FORMATS or name in EIGHT_BITS


def spectrum_of(row: Mapping[str, Any], what: str) -> Spectrum | None:
    """Return the counts of a row of ``parameters.arrow`` (gradient) or ``sites.arrow`` (output)."""
    counts = row[f"{what}_counts"]
    if counts is None:
        return None
    largest = row["gradient_max" if what == "gradient" else "output_largest"]
    known = largest is not None and np.isfinite(largest)
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
        if spectrum is not None and is_format(row["output_dtype"]):
            found.append(
                Made(
                    step=row["step"],
                    site=row["site"],
                    dtype=row["output_dtype"],
                    spectrum=spectrum,
                )
            )
    return found


Spectra = Mapping[int, Mapping[int, Spectrum]]


def _newest(table: pa.Table, column: str, before: int | None, newest: int) -> pa.Table:
    table = table.filter(pc.is_valid(table[column]))
    if before is not None:
        table = table.filter(pc.less(table["step"], before))
    steps = np.unique(indices(table, "step"))
    if len(steps) <= newest:
        return table
    return table.filter(pc.greater_equal(table["step"], int(steps[-newest])))


def gradient_dtypes(run: Run) -> Mapping[int, str]:
    """Return in which dtype each parameter's gradient is made; its own where nothing else is known.

    Under autocast the gradient of a float32 weight comes from a float16 operation, by a cast.
    """
    found = {index: info.dtype for index, info in enumerate(run.parameters)}
    if not run.sampled_steps:
        return found
    table = run.site_rows
    table = table.filter(pc.greater_equal(table["step"], run.sampled_steps[-NEWEST:][0]))
    names = ("step", "backward", "node", "parent", "site", "parameter", "dtype")
    rows = table.select(names).to_pylist()
    casts = {
        (row["step"], row["backward"], row["node"]): row["dtype"]
        for row in rows
        if row["dtype"] is not None
        and row["site"] is not None
        and run.sites[row["site"]].operation == "ToCopy"
    }
    for row in rows:
        place = (row["step"], row["backward"], row["parent"])
        if row["parameter"] is not None and place in casts:
            found[row["parameter"]] = casts[place]
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """The largest magnitude at one operation, of all its calls, sample by sample."""

    site: int
    dtype: str
    step: Ints
    largest: Floats


def largest_series(run: Run, column: str) -> Sequence[Series]:
    """Return the largest magnitudes of a column, one series for each operation and dtype."""
    table = run.site_rows
    table = table.filter(pc.is_valid(table[column]))
    step, site = indices(table, "step"), indices(table, "site")
    largest = numbers(table, column)
    dtype = np.array([name or "" for name in table["output_dtype"].to_pylist()], dtype=str)
    found = []
    for number, name in sorted(set(zip(site.tolist(), dtype.tolist(), strict=True))):
        if not is_format(name) or not 0 <= number < len(run.sites):
            continue
        mine = (site == number) & (dtype == name) & np.isfinite(largest)
        steps, place = np.unique(step[mine], return_inverse=True)
        most = np.full(len(steps), -np.inf)
        np.maximum.at(most, place, largest[mine])
        found.append(Series(site=number, dtype=name, step=steps, largest=most))
    return found
