"""Exported tables, read back by the tools they are for."""

import json
import math
from pathlib import Path

import made_up
import pyarrow.csv
import pyarrow.parquet
import pytest

from headwater.errors import UsageError
from headwater.runs.export import export
from headwater.runs.reader import Run
from headwater.runs.schema import PARAMETERS, PULSE, SITES


@pytest.fixture
def run(tmp_path: Path) -> Run:
    tricky = 'say "hi", x.py'
    return made_up.run(
        tmp_path,
        pulse=[{"loss": math.nan, "gradient_norms": [0.5, None, math.inf]}, {"loss": 0.25}],
        parameters=[{"parameter": 1, "raw_norm": 2.5, "unit_l1": [1.0, 2.0]}, {"parameter": 0}],
        sites=[
            made_up.node(0, -1, level=-math.inf),
            made_up.node(1, 0, level=-0.5, site=1, parameter=1),
        ],
        info={
            "sites": [
                made_up.site("mse", "loss", 9, file=tricky),
                made_up.site("accumulate", "parameter", 0, module="net.0"),
            ],
            "parameters": [made_up.parameter("net.0.weight"), made_up.parameter("net.0.bias")],
        },
    )


def test_parquet_keeps_types_and_lists_and_names_what_indexes_stand_for(
    run: Run, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    paths = export(run, to="parquet", out=out)
    assert paths == [out / f"{name}.parquet" for name in ("pulse", "parameters", "sites")]
    pulse, parameters, sites = map(pyarrow.parquet.read_table, paths)
    assert pulse["gradient_norms"].to_pylist() == [[0.5, None, math.inf], None]
    assert json.loads(pulse.schema.metadata[b"parameters"]) == [
        "net.0.weight",
        "net.0.bias",
        "p2",
    ]
    assert [field.type for field in pulse.schema] == PULSE.types
    assert parameters["parameter_name"].to_pylist() == ["net.0.bias", "net.0.weight"]
    assert parameters["unit_l1"].to_pylist() == [[1.0, 2.0], None]
    assert set(PARAMETERS.names) < set(parameters.column_names)
    assert set(SITES.names) < set(sites.column_names)
    assert sites.select(["file", "line", "operation", "kind", "module"]).to_pylist() == [
        {"file": 'say "hi", x.py', "line": 9, "operation": "mse", "kind": "loss", "module": ""},
        {
            "file": "train.py",
            "line": 0,
            "operation": "accumulate",
            "kind": "parameter",
            "module": "net.0",
        },
    ]
    assert sites["parameter_name"].to_pylist() == [None, "net.0.bias"]
    assert sites["level"].to_pylist() == [-math.inf, -0.5]


def test_csv_holds_lists_as_json_text(run: Run, tmp_path: Path) -> None:
    paths = export(run, to="csv", out=tmp_path / "out")
    pulse, parameters, sites = map(pyarrow.csv.read_csv, paths)
    assert pulse["gradient_norms"].to_pylist() == ['[0.5, null, "inf"]', ""]
    assert parameters["parameter_name"].to_pylist() == ["net.0.bias", "net.0.weight"]
    assert json.loads(parameters["unit_l1"].to_pylist()[0]) == [1.0, 2.0]
    assert parameters["raw_norm"].to_pylist() == [2.5, None]
    assert sites["file"].to_pylist() == ['say "hi", x.py', "train.py"]
    assert sites["level"].to_pylist() == [-math.inf, -0.5]
    # pyarrow reads "nan" and nothing alike as null; the text tells them apart.
    loss = [line.split(",")[4] for line in paths[0].read_text(encoding="utf-8").splitlines()]
    assert loss == ['"loss"', "nan", "0.25"]


@pytest.mark.parametrize("to", ["parquet", "csv"])
def test_an_empty_run_exports_empty_tables(tmp_path: Path, to: str) -> None:
    paths = export(made_up.run(tmp_path), to=to, out=tmp_path / "out")
    assert len(paths) == 3
    assert all(path.stat().st_size > 0 for path in paths)


def test_an_unknown_format_is_said(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        export(run, to="xlsx", out=tmp_path / "out")
    assert str(caught.value) == "cannot export to 'xlsx'; formats are parquet, csv"
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_said(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(UsageError, match=r"cannot write to '.*out': File exists"):
        export(run, to="csv", out=tmp_path / "out")
