"""Reading a record, whole or cut off by a kill."""

from __future__ import annotations

import json
import os
from datetime import datetime
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from headwater.errors import (
    NewerSchemaError,
    NotRecordedError,
    RunNotFoundError,
    UnreadableRunError,
)
from headwater.records import ParameterInfo, Site
from headwater.runs.info import VERSION, RunInfo
from headwater.runs.ledger import Ledger
from headwater.runs.schema import TABLE_NAMES, TableName
from headwater.runs.tables import read_table

RUNS_FOLDER = "headwater-runs"
NO_INFO = "run.json is missing: the process was killed before it was written"


class Run:
    """One observed training process, as its folder tells it; ``docs/record.md`` has the columns.

    Tables are read when first asked for, and kept.
    """

    def __init__(self, path: Path, info: RunInfo, ranks: tuple[Path, ...] = ()) -> None:
        """Hold what :meth:`open` found; ``ranks`` are the folders of a distributed job's ranks."""
        self.path = path
        self.info = info
        self.ranks = ranks

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Run:
        """Open a run's folder, rank 0 of a folder of ranks, or the newest of a folder of runs.

        Raises:
            RunNotFoundError: There is no run at ``path``.
            UnreadableRunError: There is one, but its files cannot be understood.
            NewerSchemaError: A newer Headwater wrote it.
        """
        place = Path(path)
        try:
            folder, ranks = _locate(place)
            return cls(folder, _read_info(folder), ranks)
        except OSError as error:
            raise UnreadableRunError(str(path), f"{error.strerror}: {error.filename}") from error

    @classmethod
    def newest(cls, folder: str | os.PathLike[str] = RUNS_FOLDER) -> Run:
        """Open the run in ``folder`` that started last.

        Raises:
            RunNotFoundError: There is no run in ``folder``.
            UnreadableRunError: There is one, but its files cannot be understood.
            NewerSchemaError: A newer Headwater wrote it.
        """
        return cls.open(folder)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @cached_property
    def sites(self) -> tuple[Site, ...]:
        """The places that the column ``site`` counts.

        A kill can fall between a batch and the ``run.json`` that names its sites; those it did
        not name are of kind ``other``, so that every index in the tables can be looked up.
        """
        missing = _largest(self.site_rows["site"]) + 1 - len(self.info.sites)
        return self.info.sites + (Site(operation="unknown", kind="other"),) * missing

    @cached_property
    def parameters(self) -> tuple[ParameterInfo, ...]:
        """The parameters that the column ``parameter`` counts, unnamed ones as in ``sites``."""
        norms = pc.max(pc.list_value_length(self.pulse["gradient_norms"])).as_py()
        in_sites = 1 + _largest(self.site_rows["parameter"])
        in_rows = 1 + _largest(self.parameter_rows["parameter"])
        count = max(norms or 0, in_sites, in_rows)
        return self.info.parameters + tuple(
            ParameterInfo(name=f"parameter {index}", shape=(), dtype="", requires_grad=True)
            for index in range(len(self.info.parameters), count)
        )

    @property
    def findings_path(self) -> Path:
        """Where the findings stand once the run has been judged."""
        return self.path / "findings.json"

    @property
    def pulse(self) -> pa.Table:
        """One row a step."""
        return self._tables["pulse"][0]

    @property
    def parameter_rows(self) -> pa.Table:
        """One row a parameter and sampled step."""
        return self._tables["parameters"][0]

    @property
    def site_rows(self) -> pa.Table:
        """One row a graph node, backward pass and sampled step."""
        return self._tables["sites"][0]

    @property
    def truncated(self) -> tuple[TableName, ...]:
        """The tables that ended in the middle of a batch."""
        return tuple(name for name in TABLE_NAMES if self._tables[name][1])

    @cached_property
    def sampled_steps(self) -> tuple[int, ...]:
        """The steps with a ledger, in order."""
        return tuple(sorted(pc.unique(self.site_rows["step"]).drop_null().to_pylist()))

    def backward_passes(self, step: int) -> tuple[int, ...]:
        """The backward passes of a step that have a ledger, in order."""
        rows = self.site_rows.filter(pc.equal(self.site_rows["step"], step))
        return tuple(sorted(pc.unique(rows["backward"]).drop_null().to_pylist()))

    def ledger(self, step: int | None = None, backward: int = 0) -> Ledger:
        """Return the account of one backward pass of a step; of the newest sampled step if None.

        Raises:
            NotRecordedError: No ledger was taken there.
        """
        if not self.sampled_steps:
            raise NotRecordedError("ledger", "no step of this run was sampled")
        at = self.sampled_steps[-1] if step is None else step
        here = pc.and_(
            pc.equal(self.site_rows["step"], at), pc.equal(self.site_rows["backward"], backward)
        )
        rows = self.site_rows.filter(here)
        if rows.num_rows == 0:
            steps = ", ".join(map(str, self.sampled_steps))
            raise NotRecordedError(
                f"ledger of step {at}, backward pass {backward}", f"sampled steps are {steps}"
            )
        return Ledger(rows.to_pylist(), self.sites, self.parameters, step=at, backward=backward)

    @cached_property
    def _tables(self) -> dict[TableName, tuple[pa.Table, bool]]:
        return {name: read_table(self.path, name) for name in TABLE_NAMES}


def _largest(index: pa.ChunkedArray) -> int:
    largest: int | None = pc.max(index).as_py()
    return -1 if largest is None else largest


def _locate(place: Path) -> tuple[Path, tuple[Path, ...]]:
    """Return the run's folder and, for a folder of ranks, the folders of all of them."""
    if not place.exists():
        raise RunNotFoundError(str(place))
    if not place.is_dir():
        raise UnreadableRunError(str(place), "it is a file; a run is a folder")
    if _is_run(place):
        return place, ()
    ranks = _ranks(place)
    if ranks:
        return ranks[0], ranks
    runs = [folder for folder in place.iterdir() if folder.is_dir() and _holds_run(folder)]
    if not runs:
        raise RunNotFoundError(str(place))
    return _locate(max(runs, key=_started))


def _is_run(folder: Path) -> bool:
    names = {"run.json", *(f"{name}.arrow" for name in TABLE_NAMES)}
    return any(entry.name in names for entry in folder.iterdir())


def _ranks(folder: Path) -> tuple[Path, ...]:
    found = [
        (int(entry.name[4:]), entry)
        for entry in folder.iterdir()
        if entry.name.startswith("rank") and entry.name[4:].isdecimal() and _is_run(entry)
    ]
    return tuple(entry for _, entry in sorted(found))


def _holds_run(folder: Path) -> bool:
    try:
        return _is_run(folder) or bool(_ranks(folder))
    except OSError:  # a neighbour that cannot be read must not hide the runs that can
        return False


def _started(folder: Path) -> tuple[float, str]:
    """Return when a run started, by its own word, else by its folder's time stamp."""
    own = next(iter(_ranks(folder)), folder)
    try:
        started = datetime.fromisoformat(str(_read_info(own).started)).timestamp()
    except (ValueError, OSError, UnreadableRunError, NewerSchemaError):
        started = folder.stat().st_mtime
    return started, folder.name


def _read_info(folder: Path) -> RunInfo:
    path = folder / "run.json"
    if not path.exists():
        missing = {"status": "running", "reason": None, "notes": [NO_INFO]}
        return RunInfo(observation=missing)
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UnreadableRunError(str(folder), f"run.json is not JSON ({error})") from error
    if not isinstance(data, dict):
        raise UnreadableRunError(
            str(folder), f"run.json holds a {type(data).__name__}, not an object"
        )
    schema = data.get("schema", VERSION)
    if not isinstance(schema, int):
        raise UnreadableRunError(str(folder), f"run.json has schema {schema!r}, not a number")
    if schema > VERSION:
        raise NewerSchemaError(str(folder), found=schema, known=VERSION)
    try:
        return RunInfo.from_json(data)
    except TypeError as error:
        raise UnreadableRunError(str(folder), f"in run.json, {error}") from error
