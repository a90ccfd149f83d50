"""The report as a whole: what ran, which passes are shown, what is noted; strict JSON."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import made_up
import pytest

from headwater.errors import NotRecordedError
from headwater.records import Verdict
from headwater.reports.assemble import assemble
from headwater.reports.view import Head, Report
from headwater.runs.reader import Run

Nodes = Sequence[Mapping[str, Any]]

SOURCE = {"train.py": "".join(f"line_{i} = f(x)\n" for i in range(1, 30))}


def _run(folder: Path, nodes: Nodes = (), steps: int = 3, **info: Any) -> Run:
    pulse = info.pop("pulse", [{"loss": 2.0 - 0.5 * step} for step in range(steps)])
    return made_up.run(folder, pulse=pulse, sites=nodes, info={"sources": SOURCE, **info})


def _pass(step: int, root: int, backward: int = 0, **more: Any) -> Nodes:
    """A backward pass of two operations: the loss at site ``root`` and the next site."""
    at = {"step": step, "backward": backward}
    return [
        made_up.node(0, -1, site=root, gain=-0.5, **at),
        made_up.node(1, 0, site=root + 1, **at, **{"level": -0.5, **more}),
    ]


def _head(folder: Path, *, now: float = 0.0, **info: Any) -> Head:
    return assemble(_run(folder, _pass(0, 0), **info), now=now).head


def test_the_head_tells_what_ran_and_how_it_went(tmp_path: Path) -> None:
    head = _head(
        tmp_path,
        command=["/usr/bin/python3", "/made/up/train.py", "--name", "a b"],
        overhead={"observer_s": 0.1, "elapsed_s": 10.1},
    )
    assert head.command == "train.py --name 'a b'"
    assert (head.state, head.ending) == ("finished", "finished")
    assert (head.steps, head.samples) == (3, 1)
    assert head.overhead == pytest.approx(0.01)
    assert (head.first_loss, head.last_loss) == (2.0, 1.0)
    assert head.alerts == ()


@pytest.mark.parametrize(
    ("ended", "state", "ending"),
    [
        ({"code": 0, "exception": None}, "finished", "finished"),
        ({"code": 3, "exception": None}, "failed", "ended with exit code 3"),
        ({"code": 1, "exception": "ValueError: no"}, "failed", "ended by ValueError: no"),
    ],
)
def test_the_end_is_told(tmp_path: Path, ended: Any, state: str, ending: str) -> None:
    head = _head(tmp_path, exit=ended)
    assert (head.state, head.ending) == (state, ending)


def test_a_run_without_an_end_is_running_while_its_record_is_written(tmp_path: Path) -> None:
    run = _run(tmp_path, _pass(0, 0), exit=None, ended=None)
    written = max(path.stat().st_mtime for path in run.path.iterdir())
    assert assemble(run, now=written + 3).head.state == "running"
    assert assemble(run, now=written + 3600).head.state == "killed"


def test_a_stopped_observation_and_a_cut_table_are_alerts(tmp_path: Path) -> None:
    status = {"status": "stopped", "reason": "No space left on device", "notes": []}
    run = _run(tmp_path, _pass(0, 0), observation=status)
    table = run.path / "sites.arrow"
    os.truncate(table, table.stat().st_size - 3)
    stopped, cut = assemble(Run.open(run.path), now=0.0).head.alerts
    assert stopped == "the observation stopped before the end: No space left on device"
    assert cut.startswith("sites.arrow cut off")


def test_what_limits_the_picture_is_noted(tmp_path: Path) -> None:
    run = _run(
        tmp_path,
        _pass(0, 0),
        unknown_operations={"Fancy": 3, "Odd": 20},
        unseen={"compiled_nodes": 2, "nodes": 20, "compiled_parameter_share": 0.5},
        observation={"status": "complete", "reason": None, "notes": ["torch.func is not seen"]},
    )
    unknown, compiled, own = assemble(run, now=0.0).notes
    assert unknown == "operations this version does not know: Odd (20×) and Fancy (3×)"
    assert compiled.startswith("2 compiled regions with 50% of the parameters are not seen inside")
    assert own == "torch.func is not seen"


def test_the_newest_pass_of_each_graph_is_shown(tmp_path: Path) -> None:
    nodes = [row for step in (0, 2, 4) for row in _pass(step, 0)]
    nodes += [row for step in (1, 3) for row in _pass(step, 2)]
    pulse = [{"optimiser": step % 2} for step in range(5)]
    both = [{"type": "Adam"}, {"type": "SGD"}]
    flows = assemble(_run(tmp_path, nodes, pulse=pulse, optimisers=both), now=0.0).flows
    assert [(flow.step, flow.alike) for flow in flows] == [(3, 2), (4, 3)]
    assert flows[0].title == "optimiser 1, SGD, loss at train.py:3  line_3 = f(x)"
    assert flows[1].title == "optimiser 0, Adam, loss at train.py:1  line_1 = f(x)"


def test_one_loss_line_of_two_optimisers_is_two_graphs(tmp_path: Path) -> None:
    nodes = [*_pass(0, 0), *_pass(1, 0)]
    pulse = [{"optimiser": 0}, {"optimiser": 1}]
    flows = assemble(_run(tmp_path, nodes, pulse=pulse), now=0.0).flows
    assert [flow.step for flow in flows] == [0, 1]


def test_the_micro_batches_of_an_accumulation_are_one_graph(tmp_path: Path) -> None:
    nodes = [row for backward in range(4) for row in _pass(2, 0, backward)]
    (flow,) = assemble(_run(tmp_path, nodes), now=0.0).flows
    assert (flow.step, flow.backward, flow.alike) == (2, 0, 4)


def test_two_losses_of_one_backward_call_are_one_graph(tmp_path: Path) -> None:
    nodes = [
        made_up.node(0, -1, gain=-0.5),
        made_up.node(1, -1, gain=-0.1),
        made_up.node(2, 0, level=-0.4, junction_decades=0.1),
    ]
    (flow,) = assemble(_run(tmp_path, nodes), now=0.0).flows
    assert flow.operations == 3


def test_a_step_can_be_asked_for(tmp_path: Path) -> None:
    run = _run(tmp_path, [*_pass(0, 0), *_pass(2, 0)])
    assert [flow.step for flow in assemble(run, now=0.0, step=0).flows] == [0]
    with pytest.raises(NotRecordedError, match="ledger of step 1; sampled steps are 0, 2"):
        assemble(run, now=0.0, step=1)


def test_a_pass_in_which_nothing_is_finite_gives_way_to_an_older_one(tmp_path: Path) -> None:
    nodes = [*_pass(0, 0), *_pass(1, 0, level=-math.inf), *_pass(2, 0, level=math.nan)]
    (flow,) = assemble(_run(tmp_path, nodes), now=0.0).flows
    assert (flow.step, flow.not_finite) == (1, 2)
    (asked,) = assemble(_run(tmp_path, nodes), now=0.0, step=2).flows
    assert (asked.step, asked.not_finite) == (2, None)


def test_many_kinds_of_passes_are_cut_short_and_it_is_said(tmp_path: Path) -> None:
    nodes = [row for step in range(9) for row in _pass(step, 2 * step)]
    report = assemble(_run(tmp_path, nodes, steps=9), now=0.0)
    assert [flow.step for flow in report.flows] == [3, 4, 5, 6, 7, 8]
    assert report.notes == ("3 older kinds of backward pass are not shown",)


def test_a_run_without_a_sample_has_no_flow(tmp_path: Path) -> None:
    report = assemble(_run(tmp_path), now=0.0)
    assert report.flows == ()
    assert (report.head.steps, report.head.samples) == (3, 0)


def test_a_run_without_anything_is_still_reported(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    report = assemble(Run.open(tmp_path), now=0.0)
    assert report.head.command == "(unknown script)"
    assert json.loads(json.dumps(report.to_json()))["flows"] == []


def test_the_json_is_strict_and_says_what_is_not_a_number(tmp_path: Path) -> None:
    nodes = [*_pass(0, 0, level=-math.inf)]
    verdicts = [Verdict(code="HW101", symptom="vanishing-gradient", answer="healthy")]
    report: Report = assemble(_run(tmp_path, nodes), verdicts, now=0.0)
    data = json.loads(json.dumps(report.to_json(), allow_nan=False))
    lines = data["flows"][0]["sources"][0]["lines"]
    assert [line["measure"]["level_in"] for line in lines if line["measure"]] == [0.0, "-inf"]
    assert data["verdicts"][0]["answer"] == "healthy"
    assert data["format"] == 1


def test_every_key_of_the_json_is_documented(tmp_path: Path) -> None:
    document = Path(__file__).parents[2].joinpath("docs", "show-json.md").read_text()
    data = assemble(_run(tmp_path, _pass(0, 0), parameters=[made_up.parameter("w")]), now=0.0)
    assert not [key for key in _keys(data.to_json()) if f"`{key}`" not in document]


def _keys(data: Any) -> set[str]:
    if isinstance(data, dict):
        return set(data).union(*map(_keys, data.values()))
    return set().union(*map(_keys, data)) if isinstance(data, list) else set()
