"""The account of one parameter: it adds up, and names the right pass."""

from __future__ import annotations

import json
import math
from pathlib import Path

import made_up
import pytest

from headwater.errors import NotRecordedError
from headwater.reports.accounts import account
from headwater.reports.output import rendered
from headwater.reports.tables import account_lines
from headwater.runs.reader import Run

SITES = [
    made_up.site("MseLoss", "loss", 9),
    made_up.site("Tanh", "activation", 5, module="act"),
    made_up.site("AccumulateGrad", "parameter", 0, parameter="w"),
]


def _run(folder: Path, *, end: float = -1.5, step: int = 4) -> Run:
    at = {"step": step}
    nodes = [
        made_up.node(0, -1, **at),
        made_up.node(1, 0, edge_decades=-0.5, level=-0.5, **at),
        made_up.node(2, 1, site=1, edge_decades=-0.25, level=-0.75, **at),
        made_up.node(3, 2, site=2, edge_decades=end + 0.75, level=end, parameter=0, **at),
    ]
    named = [made_up.parameter("w"), made_up.parameter("unused")]
    return made_up.run(folder, sites=nodes, info={"sites": SITES, "parameters": named})


def test_the_entries_add_up_to_what_was_measured(tmp_path: Path) -> None:
    told = account(_run(tmp_path), "w")
    assert [(row.operation, row.calls, row.decades, row.running) for row in told.rows] == [
        ("MseLoss", 1, -0.5, -0.5),
        ("Tanh", 2, -1.0, -1.5),
    ]
    assert (told.total, told.measured, told.difference) == (-1.5, -1.5, 0.0)
    assert told.by_kind == (("activation", -1.0), ("loss", -0.5))


def test_the_account_prints_its_sum_beside_the_measurement(tmp_path: Path) -> None:
    text = rendered(account_lines(account(_run(tmp_path), "w"), 80))
    assert text.splitlines() == [
        "account of w at step 4",
        "decades (log10) from the loss down to the parameter",
        "-6             0     sum   entry calls×each kind    where",
        "██████████████▋░   -0.50   -0.50            loss    train.py:9 MseLoss",
        "████████████░░░    -1.50   -1.00    2×-0.50 activ.  train.py:5 act Tanh",
        "",
        "by kind: activation -1.00, loss -0.50",
        "sum -1.500000 = measured -1.500000 (difference 0e+00)",
    ]


def test_a_gradient_of_exactly_zero_has_an_account(tmp_path: Path) -> None:
    told = account(_run(tmp_path, end=-math.inf), "w")
    assert (told.total, told.measured, told.difference) == (-math.inf, -math.inf, 0.0)
    assert "sum to 0 = measured to 0" in rendered(account_lines(told, 80))


def test_an_account_is_strict_json_with_documented_keys(tmp_path: Path) -> None:
    document = Path(__file__).parents[2].joinpath("docs", "show-json.md").read_text()
    data = account(_run(tmp_path, end=-math.inf), "w").to_json()
    assert json.loads(json.dumps(data, allow_nan=False))["total"] == "-inf"
    assert data["by_kind"] == {"activation": "-inf", "loss": -0.5}
    assert not [key for key in (*data, *data["rows"][0]) if f"`{key}`" not in document]


def test_the_newest_pass_that_reaches_the_parameter_is_taken(tmp_path: Path) -> None:
    nodes = [
        *[made_up.node(0, -1, step=step) for step in range(3)],
        made_up.node(1, 0, step=0, site=2, parameter=0),
        made_up.node(1, 0, step=1, site=2, parameter=0),
        made_up.node(1, 0, step=2, site=2, parameter=1),
        made_up.node(0, -1, step=1, backward=1),
    ]
    named = [made_up.parameter("w"), made_up.parameter("other")]
    run = made_up.run(tmp_path, sites=nodes, info={"sites": SITES, "parameters": named})
    assert (account(run, "w").step, account(run, "w").backward) == (1, 0)
    assert account(run, "w", step=0).step == 0
    assert account(run, "other").step == 2


def test_an_unknown_parameter_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(NotRecordedError, match=r"no parameter 'used'; nearest: 'unused'"):
        account(_run(tmp_path), "used")


def test_a_parameter_that_no_pass_reached_has_no_account(tmp_path: Path) -> None:
    with pytest.raises(NotRecordedError, match="no sampled backward pass reached it"):
        account(_run(tmp_path), "unused")
    with pytest.raises(NotRecordedError, match="account of parameter 'w' at step 3"):
        account(_run(tmp_path), "w", step=3)
