"""A record as it stood earlier: what the rules would have said had the run ended at a step."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from headwater.runs.reader import Run


class Cut(Run):
    """A run up to and with a step.

    What ``run.json`` names but the rows do not reach yet stays named: parameters' optimiser and
    sites are known from the first step on in the trainings of this corpus.
    """

    def __init__(self, run: Run, step: int) -> None:
        faults = tuple(fault for fault in run.info.faults if fault.step <= step)
        super().__init__(run.path, replace(run.info, faults=faults), run.ranks)
        self._rows = {
            "pulse": _until(run.pulse, step),
            "parameters": _until(run.parameter_rows, step),
            "sites": _until(run.site_rows, step),
        }

    @property
    def pulse(self) -> pa.Table:
        """One row a step."""
        return self._rows["pulse"]

    @property
    def parameter_rows(self) -> pa.Table:
        """One row a parameter and sampled step."""
        return self._rows["parameters"]

    @property
    def site_rows(self) -> pa.Table:
        """One row a graph node, backward pass and sampled step."""
        return self._rows["sites"]


def _until(table: pa.Table, step: int) -> pa.Table:
    return table.filter(pc.less_equal(table["step"], step))
