"""Made-up runs: real records on disk, written in ten lines, for tests that need no training.

Rows are dicts of the columns in ``docs/record.md``; columns left out are null, except those that
every real row has, which take the defaults below. Sites and parameters that rows point to and
``info`` does not name are made up as well.

    run = made_up.run(
        tmp_path,
        pulse=[{"loss": 0.7}, {"loss": 0.6}],
        sites=[made_up.node(0, -1, level=0.0), made_up.node(1, 0, edge_decades=-0.3)],
    )
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from headwater.records import ParameterInfo, Site
from headwater.runs.info import RunInfo, plain
from headwater.runs.reader import Run
from headwater.runs.schema import SCHEMAS, TableName
from headwater.runs.writer import RunWriter

Row = Mapping[str, Any]


def run(
    folder: Path,
    *,
    pulse: Sequence[Row] = (),
    sites: Sequence[Row] = (),
    parameters: Sequence[Row] = (),
    info: Row | None = None,
) -> Run:
    """Write a run into a new folder under ``folder`` and open it."""
    place = folder / f"run-{len(list(folder.iterdir())) if folder.exists() else 0}"
    writer = RunWriter(place)
    writer.write_info(_info(info or {}, pulse, sites, parameters))
    sampled = {row.get("step", 0) for row in sites}
    tables: dict[TableName, list[Row]] = {
        "pulse": [
            {"step": i, "backwards": 1, "sampled": row.get("step", i) in sampled, **row}
            for i, row in enumerate(pulse)
        ],
        "parameters": [{"step": 0, **row} for row in parameters],
        "sites": [{"step": 0, "backward": 0, "call": 0, **row} for row in sites],
    }
    for table, rows in tables.items():
        writer.append(table, columns(table, rows))
    writer.close()
    return Run.open(place)


def columns(table: TableName, rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Turn rows into the columns that ``RunWriter.append`` takes."""
    unknown = {name for row in rows for name in row} - set(SCHEMAS[table].names)
    if unknown:
        raise ValueError(f"{table} has no column {sorted(unknown)}")
    return {name: [row.get(name) for row in rows] for name in SCHEMAS[table].names}


def site(operation: str = "mm", kind: str = "weights", line: int = 1, **more: Any) -> Site:
    """Make up a site in ``train.py``."""
    place = {"file": "train.py", "user_file": "train.py", "user_line": line}
    return Site(operation=operation, kind=kind, line=line, **{**place, **more})


def parameter(name: str, shape: tuple[int, ...] = (4, 4), **more: Any) -> ParameterInfo:
    """Make up a parameter that an optimiser holds and a gradient reached."""
    defaults = {
        "dtype": "float32",
        "requires_grad": True,
        "module": name.rpartition(".")[0],
        "optimiser": 0,
        "got_gradient": True,
    }
    return ParameterInfo(name=name, shape=shape, **{**defaults, **more})


def node(number: int, parent: int, **more: Any) -> dict[str, Any]:
    """Make up a row of ``sites.arrow``; its site has the node's number unless told otherwise."""
    defaults = {
        **dict.fromkeys(SCHEMAS["sites"].names),
        "step": 0,
        "backward": 0,
        "call": 0,
        "site": number,
        "edge_decades": 0.0,
        "junction_decades": 0.0,
        "level": 0.0,
        "elements": 16,
    }
    return {**defaults, "node": number, "parent": parent, **more}


def _info(info: Row, pulse: Sequence[Row], sites: Sequence[Row], rows: Sequence[Row]) -> RunInfo:
    known = dict(info)
    named = list(known.pop("parameters", ()))
    count = _count(
        "parameter", [*sites, *rows], [len(row.get("gradient_norms") or ()) for row in pulse]
    )
    named += [parameter(f"p{i}") for i in range(len(named), count)]
    placed = list(known.pop("sites", ()))
    placed += [site(line=i + 1) for i in range(len(placed), _count("site", sites))]
    optimisers = list(known.pop("optimisers", [{"type": "SGD", "settings": {"lr": 0.01}}]))
    steps = 1 + max((row.get("step", i) for i, row in enumerate(pulse)), default=-1)
    defaults: dict[str, Any] = {
        "headwater": "0.1.0",
        "command": ["python", "train.py"],
        "script": "/made/up/train.py",
        "directory": "/made/up",
        "started": "2026-11-22T20:15:00+00:00",
        "ended": "2026-11-22T20:16:00+00:00",
        "exit": {"code": 0, "exception": None},
        "versions": {"python": "3.11.0", "torch": "2.13.0"},
        "device": ["cpu"],
        "seed": 0,
        "observation": {"status": "complete", "reason": None, "notes": []},
        "overhead": {"steps": steps, "pulses": steps},
        "modules": [{"path": "", "type": "Sequential"}],
        "parameters": [_plain(entry) for entry in named],
        "sites": [_plain(entry) for entry in placed],
        "optimisers": [_plain(entry) for entry in optimisers],
    }
    return RunInfo.from_json(plain({**defaults, **known}))


def _count(column: str, rows: Sequence[Row], others: Sequence[int] = ()) -> int:
    named = [row[column] + 1 for row in rows if row.get(column) is not None]
    return max([0, *named, *others])


def _plain(entry: Any) -> Any:
    return asdict(entry) if is_dataclass(entry) and not isinstance(entry, type) else entry
