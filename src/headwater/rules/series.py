"""The largest numbers at operations, as series over the samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from headwater.rules.passes import Floats, Ints, indices, numbers
from headwater.theory.precision import is_format

if TYPE_CHECKING:
    from headwater.runs.reader import Run


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
