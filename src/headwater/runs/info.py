"""What ran: ``run.json`` as a frozen dataclass."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from numbers import Integral, Real
from typing import Any

from headwater.records import (
    KINDS,
    Expression,
    Fault,
    Figures,
    OptimiserInfo,
    ParameterInfo,
    Site,
    Where,
)

VERSION = 1
"""The version of the record; raised whenever an older reader would misunderstand it."""

Json = Mapping[str, Any]


def _sampling() -> Json:
    return {
        "overhead": 0.01,
        "every": None,
        "steps": None,
        "eager_samples": False,
        "stop_on": None,
        "keep_state": False,
    }


def _observation() -> Json:
    return {"status": "running", "reason": None, "notes": []}


def _overhead() -> Json:
    return {"observer_s": 0.0, "elapsed_s": 0.0, "steps": 0, "samples": 0, "pulses": 0}


def _unseen() -> Json:
    return {"compiled_nodes": 0, "nodes": 0, "compiled_parameter_share": 0.0}


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What ran; each field is the key of ``run.json`` that ``docs/record.md`` describes.

    Every field has a default, so that the record of a process killed early still reads.

    Example:
        >>> info = RunInfo(command=("python", "train.py"), sites=(Site(operation="mm",
        ...     kind="weights", line=3),))
        >>> RunInfo.from_json(info.to_json()) == info
        True
        >>> RunInfo.from_json({"seed": 7}).observation["status"]
        'running'
    """

    schema: int = VERSION
    headwater: str = ""
    command: tuple[str, ...] = ()
    script: str = ""
    directory: str = ""
    started: str | None = None
    ended: str | None = None
    exit: Json | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    device: tuple[str, ...] = ()
    git: Json | None = None
    seed: int | None = None
    sampling: Json = field(default_factory=_sampling)
    observation: Json = field(default_factory=_observation)
    overhead: Json = field(default_factory=_overhead)
    modules: tuple[Mapping[str, str], ...] = ()
    parameters: tuple[ParameterInfo, ...] = ()
    optimisers: tuple[OptimiserInfo, ...] = ()
    sites: tuple[Site, ...] = ()
    expressions: tuple[Expression, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    unknown_operations: Mapping[str, int] = field(default_factory=dict)
    unseen: Json = field(default_factory=_unseen)
    faults: tuple[Fault, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain data for ``run.json``; numbers that JSON lacks become their names."""
        data = {item.name: getattr(self, item.name) for item in fields(self)}
        for name in _RECORDS:
            data[name] = [asdict(record) for record in data[name]]
        plain_data: dict[str, Any] = plain(data)
        return plain_data

    @classmethod
    def from_json(cls, data: Json) -> RunInfo:
        """Read ``run.json``'s object; unknown keys are passed over, missing ones take defaults.

        Raises:
            TypeError: A key holds another type than ``docs/record.md`` says.
        """
        defaults = cls()
        known: dict[str, Any] = {}
        for item in fields(cls):
            if item.name in data:
                known[item.name] = _read(item.name, data[item.name], getattr(defaults, item.name))
        return cls(**known)


_Record = Site | ParameterInfo | OptimiserInfo | Expression | Fault

_RECORDS: Mapping[str, type[_Record]] = {
    "sites": Site,
    "expressions": Expression,
    "parameters": ParameterInfo,
    "optimisers": OptimiserInfo,
    "faults": Fault,
}


_NULLABLE: Mapping[str, type] = {
    "started": str,
    "ended": str,
    "exit": dict,
    "git": dict,
    "seed": int,
}


def _read(name: str, value: Any, default: Any) -> Any:
    if name in _NULLABLE:
        return value if value is None else _expect(name, value, _NULLABLE[name])
    if isinstance(default, tuple):
        entries = _expect(name, value, list)
        if name in _RECORDS:
            return tuple(_record(name, entry) for entry in entries)
        wanted = dict if name == "modules" else str
        return tuple(_expect(f"an entry of {name}", entry, wanted) for entry in entries)
    if isinstance(default, Mapping):
        return {**default, **_expect(name, value, dict)}
    return _expect(name, value, type(default))


def _record(name: str, entry: Any) -> _Record:
    """Build one entry of a list of records, whose unknown fields are passed over."""
    _expect(f"an entry of {name}", entry, dict)
    record = _RECORDS[name]
    known = {item.name: entry[item.name] for item in fields(record) if item.name in entry}
    if "shape" in known:
        known["shape"] = tuple(_expect(f"a shape in {name}", known["shape"], list))
    if record is Fault:
        known = _fault(known)
    # A kind that a later writer of this schema adds is one that this reader does not know.
    if "kind" in known and known["kind"] not in KINDS:
        known["kind"] = "other"
    try:
        return record(**known)
    except TypeError as error:
        wanted = [item.name for item in fields(record) if _required(item)]
        raise TypeError(f"an entry of {name} lacks one of {', '.join(wanted)}") from error


def _fault(known: dict[str, Any]) -> dict[str, Any]:
    """Read what a fault holds of other records."""
    inputs = [
        {**entry, "shape": tuple(entry.get("shape", ())), "first_bad": _index(entry)}
        for entry in _expect("inputs of a fault", known.get("inputs", []), list)
    ]
    return {
        **known,
        "where": Where(**_expect("where of a fault", known.get("where", {}), dict)),
        "inputs": tuple(Figures(**entry) for entry in inputs),
        "parameters": tuple(_expect("parameters of a fault", known.get("parameters", []), list)),
    }


def _index(entry: Json) -> tuple[int, ...] | None:
    first = entry.get("first_bad")
    return None if first is None else tuple(first)


def _required(item: Field[Any]) -> bool:
    return item.default is MISSING and item.default_factory is MISSING


def _expect(name: str, value: Any, wanted: type) -> Any:
    if not isinstance(value, wanted):
        raise TypeError(f"{name} is a {type(value).__name__}, not a {wanted.__name__}")
    return value


def plain(value: Any) -> Any:
    """Return ``value`` as strict JSON can hold it.

    JSON has no NaN and no infinity (jq and browsers refuse Python's spelling of them), so these
    become ``"nan"``, ``"inf"`` and ``"-inf"``; anything that is not plain data becomes its text.

    Example:
        >>> plain({"shape": (2, 3), "norm": float("inf")})
        {'shape': [2, 3], 'norm': 'inf'}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, Integral):  # numpy's numbers too
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else str(float(value))
    return str(value)
