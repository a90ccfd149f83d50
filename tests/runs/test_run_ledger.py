"""The ledger against trees worked out by hand."""

import math
from pathlib import Path
from typing import Any

import made_up
import pytest

from headwater.errors import NotRecordedError
from headwater.runs.ledger import Ledger

INF = math.inf
node = made_up.node
site = made_up.site

# A loop that calls one linear and one tanh line twice, round a residual addition:
#
#   0 loss -> 1 add -> 2 tanh -> 3 linear -> 4 tanh -> 5 linear -> 6 embedding's parameter
#                   -> 7 tanh's branch, the smaller contribution, has its own parameter 8
SITES = (
    site("mse", "loss", 9, module=""),
    site("add", "junction", 7, module="net"),
    site("tanh", "activation", 6, module="net.block"),
    site("linear", "weights", 5, module="net.block"),
    site("accumulate", "parameter", 0, module="embed", parameter="embed.weight"),
    site("mul", "shape", 8, module="net"),
    site("accumulate", "parameter", 0, module="net", parameter="net.scale"),
)
PARAMETERS = (made_up.parameter("embed.weight"), made_up.parameter("net.scale"))
TREE = (
    node(0, -1, level=0.5, gain=-1.0, site=0),
    node(1, 0, level=-0.5, edge_decades=-1.0, gain=0.0, site=1),
    node(2, 1, level=-0.5, edge_decades=0.0, gain=-0.3, site=2, call=1),
    node(3, 2, level=-0.8, edge_decades=-0.3, gain=0.1, site=3, call=1),
    node(4, 3, level=-0.5, edge_decades=0.1, junction_decades=0.2, gain=-0.4, site=2, call=0),
    node(5, 4, level=-0.9, edge_decades=-0.4, gain=0.25, site=3, call=0),
    node(6, 5, level=-0.65, edge_decades=0.25, gain=None, site=4, parameter=0),
    node(7, 1, level=-0.5, edge_decades=0.0, gain=-2.0, site=5),
    node(8, 7, level=-2.625, edge_decades=-2.0, junction_decades=-0.125, site=6, parameter=1),
)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    info = {"sites": SITES, "parameters": PARAMETERS}
    return made_up.run(tmp_path, sites=TREE, info=info).ledger()


def test_the_walk_folds_a_loop_and_keeps_the_order_from_the_loss_on(ledger: Ledger) -> None:
    found = [
        (entry.site.operation, entry.kind, entry.calls, entry.each)
        for entry in ledger.entries("embed.weight")
    ]
    assert found == [
        ("mse", "loss", 1, (-1.0,)),
        ("add", "junction", 1, (0.0,)),
        ("tanh", "activation", 2, (-0.3, -0.4)),
        ("linear", "weights", 2, (0.1, 0.25)),
        ("tanh", "junction", 1, (0.2,)),
    ]
    assert [entry.decades for entry in ledger.entries("embed.weight")] == pytest.approx(
        [-1.0, 0.0, -0.7, 0.35, 0.2], abs=1e-12
    )


@pytest.mark.parametrize(("name", "decades"), [("embed.weight", -1.15), ("net.scale", -3.125)])
def test_the_entries_sum_to_what_was_measured(ledger: Ledger, name: str, decades: float) -> None:
    total = sum(entry.decades for entry in ledger.entries(name))
    assert total == pytest.approx(decades, abs=1e-9)
    assert ledger.decades(name) == pytest.approx(decades, abs=1e-9)
    assert ledger.measured(name) == pytest.approx(decades, abs=1e-9)


def test_a_junction_at_a_parameter_stands_at_the_parameter(ledger: Ledger) -> None:
    last = ledger.entries("net.scale")[-1]
    assert (last.kind, last.decades, last.site.parameter) == ("junction", -0.125, "net.scale")


def test_sums_by_kind_and_by_module(ledger: Ledger) -> None:
    assert ledger.by_kind("embed.weight") == pytest.approx(
        {"loss": -1.0, "junction": 0.2, "activation": -0.7, "weights": 0.35}, abs=1e-12
    )
    assert ledger.by_module("embed.weight") == pytest.approx(
        {"": -1.0, "net": 0.0, "net.block": -0.15}, abs=1e-12
    )


def test_by_site_lists_calls_in_the_order_of_the_forward_pass(ledger: Ledger) -> None:
    sites = ledger.by_site()
    assert list(sites) == [0, 1, 2, 3, 4, 5, 6]
    tanh = sites[2]
    assert (tanh.calls, tanh.gains) == (2, (-0.4, -0.3))
    assert tanh.decades == pytest.approx(-0.7)
    assert (tanh.lowest, tanh.highest) == (-0.5, -0.5)
    assert [row["node"] for row in tanh.rows] == [4, 2]
    assert (sites[3].lowest, sites[3].highest) == (-0.9, -0.8)
    assert (sites[4].gains, sites[4].decades) == ((None,), None)


def test_names_and_rows_are_what_the_record_holds(ledger: Ledger) -> None:
    assert ledger.names == ("embed.weight", "net.scale")
    assert [row["node"] for row in ledger.rows] == list(range(9))
    assert (ledger.step, ledger.backward) == (0, 0)


def test_a_parameter_without_an_account_is_said_with_what_is_near(ledger: Ledger) -> None:
    with pytest.raises(NotRecordedError) as caught:
        ledger.entries("embed.wieght")
    assert str(caught.value) == (
        "the record holds no account of parameter 'embed.wieght' at step 0; nearest: 'embed.weight'"
    )


def _chain(*levels: float, **last: Any) -> Ledger:
    """A chain of mm whose edges are the differences of its levels, as IEEE has them."""
    rows = [node(0, -1, level=levels[0])]
    for i in range(1, len(levels)):
        rows.append(node(i, i - 1, level=levels[i], edge_decades=levels[i] - levels[i - 1]))
    rows[-1] |= {"parameter": 0, **last}
    return Ledger(rows, [site(line=i) for i in range(len(levels))], [made_up.parameter("w")])


def test_a_gradient_that_becomes_zero_is_lost_once_where_it_does() -> None:
    ledger = _chain(0.0, -1.0, -INF, -INF, -INF)
    assert [entry.decades for entry in ledger.entries("w")] == [-1.0, -INF, 0.0, 0.0]
    assert ledger.decades("w") == ledger.measured("w") == -INF
    assert ledger.by_kind("w") == {"weights": -INF}


def test_branches_that_cancel_exactly_are_lost_at_the_junction() -> None:
    ledger = _chain(0.0, -1.0, -INF, edge_decades=-0.5, junction_decades=-INF)
    found = [(entry.kind, entry.decades) for entry in ledger.entries("w")]
    assert found == [("weights", -1.0), ("weights", -0.5), ("junction", -INF)]
    assert ledger.decades("w") == ledger.measured("w") == -INF


def test_where_the_loss_sends_nothing_nothing_is_lost() -> None:
    ledger = _chain(-INF, -INF, -INF)
    assert ledger.decades("w") == ledger.measured("w") == 0.0
    assert ledger.by_site()[1].decades is None


def test_a_nan_is_passed_on() -> None:
    ledger = _chain(0.0, -1.0, math.nan, math.nan)
    decades = [entry.decades for entry in ledger.entries("w")]
    assert decades[0] == -1.0
    assert all(map(math.isnan, decades[1:]))
    assert math.isnan(ledger.decades("w"))
    assert math.isnan(ledger.measured("w"))
    assert math.isnan(ledger.by_site()[2].lowest)


def test_a_null_counts_as_not_known_rather_than_as_nothing() -> None:
    ledger = _chain(0.0, -1.0, edge_decades=None)
    assert math.isnan(ledger.decades("w"))
    assert ledger.measured("w") == -1.0


def test_a_walk_that_does_not_reach_the_loss_is_no_account() -> None:
    rows = [
        node(0, -1),
        node(1, 7, parameter=0),  # its parent was in a batch that a kill cut off
        node(2, 3),
        node(3, 2, parameter=1),  # a circle, which only a spoilt record can hold
        node(4, 0, parameter=2),
    ]
    parameters = [made_up.parameter(name) for name in "abc"]
    assert Ledger(rows, [site()] * 5, parameters).names == ("c",)


def test_a_chain_of_ten_thousand_nodes_is_walked() -> None:
    ledger = _chain(*(-0.125 * i for i in range(10_001)))
    assert ledger.measured("w") == -1250.0
    assert ledger.decades("w") == pytest.approx(-1250.0, abs=1e-9)


def test_the_newest_sampled_step_is_the_default(tmp_path: Path) -> None:
    rows = [node(0, -1, step=step, level=float(step)) for step in (4, 0, 2)]
    run = made_up.run(tmp_path, pulse=[{}] * 5, sites=rows)
    assert run.sampled_steps == (0, 2, 4)
    assert run.ledger().step == 4
    assert run.ledger(2).rows[0]["level"] == 2.0
    assert run.pulse["sampled"].to_pylist() == [True, False, True, False, True]


def test_each_backward_pass_of_a_step_has_its_own_account(tmp_path: Path) -> None:
    rows = [node(0, -1, backward=0, level=0.0), node(0, -1, backward=1, level=1.0)]
    run = made_up.run(tmp_path, sites=rows)
    assert run.backward_passes(0) == (0, 1)
    assert run.ledger(0, backward=1).rows[0]["level"] == 1.0


def test_a_step_without_a_ledger_is_said_with_those_that_have_one(tmp_path: Path) -> None:
    run = made_up.run(tmp_path, sites=[node(0, -1), node(0, -1, step=8)])
    with pytest.raises(NotRecordedError) as caught:
        run.ledger(7)
    assert str(caught.value) == (
        "the record holds no ledger of step 7, backward pass 0; sampled steps are 0, 8"
    )
    with pytest.raises(NotRecordedError, match="no ledger; no step of this run was sampled"):
        made_up.run(tmp_path, pulse=[{"loss": 1.0}]).ledger()
