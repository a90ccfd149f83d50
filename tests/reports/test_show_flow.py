"""What a place does to the gradient: loops add up, branches do not, the trunk is the trunk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import made_up
import pytest

from headwater.records import Site
from headwater.reports.assemble import assemble
from headwater.reports.view import Flow, Line, Measure, Row
from headwater.runs.reader import Run

Nodes = Sequence[dict[str, Any]]


def _run(folder: Path, sites: Sequence[Site], nodes: Nodes, **info: Any) -> Run:
    return made_up.run(
        folder, pulse=[{"loss": 1.0}], sites=nodes, info={"sites": sites, "sources": {}, **info}
    )


def _flow(folder: Path, sites: Sequence[Site], nodes: Nodes, rows: int = 0, **info: Any) -> Flow:
    (flow,) = assemble(_run(folder, sites, nodes, **info), now=0.0, most_rows=rows).flows
    return flow


def _lines(flow: Flow) -> dict[int, Line]:
    return {line.number: line for line in flow.sources[0].lines if line.measure}


def _measure(flow: Flow, line: int) -> Measure:
    measure = _lines(flow)[line].measure
    assert measure is not None
    return measure


def _names(rows: Sequence[Row]) -> list[str]:
    return [f"{row.module} {row.operation}".strip() for row in rows]


def _chain(count: int, gain: float, sites: int = 1) -> Nodes:
    """Nodes one after another from the loss on, going round the sites."""
    return [
        made_up.node(i, i - 1, site=i % sites, level=i * gain, gain=gain, edge_decades=gain)
        for i in range(count)
    ]


def test_the_calls_of_a_loop_add_up(tmp_path: Path) -> None:
    flow = _flow(tmp_path, [made_up.site("Tanh", "activation", 7)], _chain(10, -0.25))
    assert _measure(flow, 7) == Measure(
        kinds=("activation",),
        operations=10,
        calls=10,
        gain=pytest.approx(-0.25),
        junction=0.0,
        total=pytest.approx(-2.5),
        level_in=0.0,
        level_out=pytest.approx(-2.5),
    )


def test_two_lines_taking_turns_each_tell_their_own_part(tmp_path: Path) -> None:
    sites = [made_up.site("Tanh", "activation", 7), made_up.site("Mm", "weights", 6)]
    flow = _flow(tmp_path, sites, _chain(20, -0.25, sites=2))
    assert _measure(flow, 7).total == pytest.approx(-2.5)
    assert _measure(flow, 7).calls == 10
    assert _measure(flow, 7).level_out == pytest.approx(-4.75)


def test_branches_side_by_side_do_not_add_up(tmp_path: Path) -> None:
    sites = [made_up.site("Add", "junction", 9), made_up.site("Mm", "weights", 4)]
    nodes = [made_up.node(0, -1, gain=0.0)]
    nodes += [made_up.node(i, 0, site=1, gain=-0.5) for i in (1, 2, 3)]
    flow = _flow(tmp_path, sites, nodes)
    assert _measure(flow, 4).total == pytest.approx(-0.5)
    assert _measure(flow, 4).gain == pytest.approx(-0.5)
    assert _measure(flow, 4).calls == 3


def _residual(blocks: int) -> tuple[list[Site], list[dict[str, Any]]]:
    """Blocks of ``x + branch(x)`` whose branches lose two decades and whose shortcuts none."""
    sites, nodes = [], []
    trunk, number = -1, 0
    for block in reversed(range(blocks)):
        module = f"blocks.{block}"
        sites += [
            made_up.site("Add", "junction", 5, module=module),
            made_up.site("Relu", "activation", 4, module=f"{module}.act"),
            made_up.site("Mm", "weights", 4, module=f"{module}.fc"),
        ]
        junction = 0.0 if trunk < 0 else 0.01
        nodes += [
            made_up.node(number, trunk, gain=0.0, junction_decades=junction),
            made_up.node(number + 1, number, gain=-1.0),
            made_up.node(number + 2, number + 1, gain=-1.0, level=-1.0, edge_decades=-1.0),
        ]
        trunk, number = number, number + 3
    sites.append(made_up.site("Embedding", "weights", 2, module="embed"))
    nodes.append(made_up.node(number, trunk, junction_decades=0.01))
    return sites, nodes


@pytest.mark.parametrize(("holder", "calls"), [("ModuleList", 3), ("Sequential", 1)])
def test_a_loop_over_a_module_list_calls_its_line_again_and_again(
    tmp_path: Path, holder: str, calls: int
) -> None:
    sites = [made_up.site("Addmm", "weights", 7, module=f"layers.{i}") for i in range(3)]
    modules = [{"path": "layers", "type": holder}]
    modules += [{"path": site.module, "type": "Linear"} for site in sites]
    flow = _flow(tmp_path, sites, _chain(3, -0.5, sites=3), modules=modules)
    assert _measure(flow, 7).calls == calls
    assert _measure(flow, 7).total == pytest.approx(-1.5)
    assert _measure(flow, 7).gain == pytest.approx(-1.5 / calls)


def _modules(sites: Sequence[Site]) -> list[dict[str, str]]:
    paths = {".".join(site.module.split(".")[:n]) for site in sites for n in (1, 2, 3)}
    return [{"path": path, "type": "Module"} for path in sorted(paths)]


def test_a_residual_network_is_measured_along_its_trunk(tmp_path: Path) -> None:
    sites, nodes = _residual(4)
    flow = _flow(tmp_path, sites, nodes, modules=_modules(sites))
    assert _measure(flow, 5).total == pytest.approx(0.03)  # three of the four sums are met again
    assert _measure(flow, 5).calls == 4
    assert _measure(flow, 4).total == pytest.approx(-2.0)  # one branch, not four


def test_folded_by_module_a_residual_block_is_what_its_shortcut_does(tmp_path: Path) -> None:
    sites, nodes = _residual(30)
    sites = [made_up.site(s.operation, s.kind, 3, module=s.module) for s in sites]
    rows = _lines(_flow(tmp_path, sites, nodes, rows=40))[3].rows
    assert _names(rows) == ["embed", *(f"blocks.{block}" for block in range(30))]
    assert all(abs(row.measure.total or 0.0) < 0.011 for row in rows)


def test_rows_stand_in_the_order_of_the_forward_pass(tmp_path: Path) -> None:
    sites, nodes = _residual(2)
    rows = _lines(_flow(tmp_path, sites, nodes))[4].rows
    assert _names(rows) == [
        "blocks.0.fc Mm",
        "blocks.0.act Relu",
        "blocks.1.fc Mm",
        "blocks.1.act Relu",
    ]


def test_the_transpose_of_a_weight_is_no_operation_of_the_network(tmp_path: Path) -> None:
    sites = [
        made_up.site("Addmm", "weights", 3),
        made_up.site("T", "shape", 3),
        made_up.site("AccumulateGrad", "parameter", 3, parameter="w"),
    ]
    nodes = [
        made_up.node(0, -1),
        made_up.node(1, 0, gain=0.0),
        made_up.node(2, 1, parameter=0),
    ]
    line = _lines(_flow(tmp_path, sites, nodes))[3]
    assert _names(line.rows) == ["Addmm"]
    assert line.measure is not None
    assert line.measure.operations == 1
    assert line.measure.total is None  # nothing is passed on, but to parameters


def test_a_view_that_carries_the_signal_is_counted_but_gets_no_row(tmp_path: Path) -> None:
    sites = [made_up.site("Relu", "activation", 3), made_up.site("View", "shape", 3)]
    line = _lines(_flow(tmp_path, sites, _chain(2, 0.0, sites=2)))[3]
    assert _names(line.rows) == ["Relu"]
    assert line.measure is not None
    assert line.measure.operations == 2


def test_junctions_belong_to_the_line_where_the_branches_meet(tmp_path: Path) -> None:
    nodes = [
        made_up.node(0, -1, gain=-0.1),
        made_up.node(1, 0, level=0.4, gain=-0.2, junction_decades=0.5),
    ]
    flow = _flow(tmp_path, [made_up.site(line=9), made_up.site("Relu", "activation", 8)], nodes)
    measure = _measure(flow, 8)
    assert (measure.total, measure.junction) == (pytest.approx(0.3), 0.5)
    assert (measure.level_in, measure.level_out) == (pytest.approx(-0.1), pytest.approx(0.2))
    assert measure.kinds == ("junction", "activation")


def test_a_gradient_of_exactly_zero_stays_zero_to_the_input(tmp_path: Path) -> None:
    nodes = [
        made_up.node(0, -1, gain=-math.inf),
        made_up.node(1, 0, level=-math.inf, gain=None),
        made_up.node(2, 1, level=-math.inf, gain=0.3),
    ]
    flow = _flow(tmp_path, [made_up.site(line=line) for line in (9, 8, 7)], nodes)
    assert (_measure(flow, 9).total, _measure(flow, 9).level_out) == (-math.inf, -math.inf)
    assert _measure(flow, 7).total is None
    assert _measure(flow, 7).level_in == _measure(flow, 7).level_out == -math.inf
    assert (flow.low, flow.high) == (-6.0, 0.0)


def test_what_is_not_finite_stays_so(tmp_path: Path) -> None:
    nodes = [made_up.node(0, -1, gain=math.nan), made_up.node(1, 0, level=math.nan, gain=math.nan)]
    flow = _flow(tmp_path, [made_up.site(line=line) for line in (9, 8)], nodes)
    level_in, level_out = _measure(flow, 9).level_in, _measure(flow, 9).level_out
    assert level_in == 0.0
    assert level_out is not None
    assert math.isnan(level_out)
    assert _measure(flow, 8).total is not None
    assert math.isnan(_measure(flow, 8).total or 0.0)


def test_levels_count_from_the_root_whatever_its_own_gradient(tmp_path: Path) -> None:
    nodes = [made_up.node(0, -1, level=4.8, gain=-1.0), made_up.node(1, 0, level=3.8)]
    flow = _flow(tmp_path, [made_up.site(line=9), made_up.site(line=8)], nodes)
    assert _measure(flow, 9).level_in == 0.0
    assert _measure(flow, 8).level_in == pytest.approx(-1.0)


def test_the_worst_call_gives_the_dead_and_saturated_share(tmp_path: Path) -> None:
    nodes = _chain(3, 0.0)
    for node, dead in zip(nodes, (0.1, 0.6, None), strict=True):
        node.update(dead=dead, saturated=dead)
    measure = _measure(_flow(tmp_path, [made_up.site("Relu", "activation", 7)], nodes), 7)
    assert (measure.dead, measure.saturated) == (0.6, 0.6)


def test_rows_with_a_parent_that_is_missing_do_not_stop_the_view(tmp_path: Path) -> None:
    nodes = [made_up.node(0, -1, gain=-0.3), made_up.node(5, 4, site=0, gain=-0.2)]
    assert _measure(_flow(tmp_path, [made_up.site(line=2)], nodes), 2).operations == 2


def test_rows_in_a_circle_are_left_out(tmp_path: Path) -> None:
    nodes = [made_up.node(0, -1), made_up.node(1, 2, site=0), made_up.node(2, 1, site=0)]
    assert _measure(_flow(tmp_path, [made_up.site(line=2)], nodes), 2).operations == 1


def test_a_line_with_too_many_neighbours_folds_them_evenly(tmp_path: Path) -> None:
    sites = [made_up.site("Relu", "activation", 3, module=f"net.{i}") for i in range(99, -1, -1)]
    rows = _lines(_flow(tmp_path, sites, _chain(100, -0.1, sites=100), rows=10))[3].rows
    assert len(rows) == 10
    assert rows[0].module == "net.0 … net.9"
    assert [row.measure.total for row in rows] == [pytest.approx(-1.0)] * 10
