"""What is shown of number formats and of expressions with a stable form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import made_up
import numpy as np
import pytest

from headwater.records import Spectrum
from headwater.reports.assemble import assemble
from headwater.reports.output import rendered
from headwater.reports.screen import report_lines
from headwater.reports.view import Report
from headwater.runs.reader import Run
from headwater.theory.spectrum import shares

DRAWN = np.random.default_rng(0).normal(0, 1e-7, 5000).astype(np.float32).astype(np.float64)


def _counts(values: Sequence[float], what: str) -> dict[str, Any]:
    seen = Spectrum.of(values)
    return {
        f"{what}_exponent": seen.first,
        f"{what}_counts": list(seen.counts),
        f"{what}_zeros": seen.zeros,
        f"{what}_nonfinites": seen.nonfinite,
        "gradient_max" if what == "gradient" else "output_largest": seen.largest,
    }


def _run(folder: Path, *, scale: float | None = None, **more: Any) -> Run:
    nodes = [
        made_up.node(0, -1),
        made_up.node(1, 0, output_dtype="bfloat16", **_counts([0.0, 0.5, 3.0, 8.0], "output")),
    ]
    gradient = (DRAWN * (scale or 1.0)).tolist()
    return made_up.run(
        folder,
        pulse=[{"loss": 0.7, "loss_scale": scale}],
        sites=nodes,
        parameters=[{"parameter": 0, **_counts(gradient, "gradient")}],
        info={
            "sites": [made_up.site("Mean", "loss", line=9), made_up.site("Relu", "activation")],
            "parameters": [made_up.parameter("net.0.weight", (50, 100))],
            **more,
        },
    )


def _report(run: Run, step: int | None = None) -> Report:
    return assemble(run, now=0.0, step=step)


def _text(report: Report, width: int = 80) -> str:
    import io

    return rendered(report_lines(report, width), color="never", file=io.StringIO())


def test_formats_in_use_come_first_and_the_others_are_forecasts(tmp_path: Path) -> None:
    seen = _report(_run(tmp_path)).precision
    assert seen is not None
    assert [(row.format, row.used) for row in seen.rows] == [
        ("float32", True),
        ("bfloat16", True),
        ("float16", False),
        ("float8_e4m3fn", False),
        ("float8_e5m2", False),
    ]
    used, outputs, forecast = seen.rows[0], seen.rows[1], seen.rows[2]
    assert used.gradients is not None
    assert (used.outputs, outputs.gradients) == (None, None)
    assert outputs.outputs is not None
    assert outputs.outputs.zero == 0.25
    assert forecast.gradients is not None
    want = shares(Spectrum.of(DRAWN.tolist()), "float16")
    assert forecast.gradients.zero == want.zero
    assert 0.1 < want.zero < 0.5


def test_the_worst_gradient_is_told_with_the_scale_that_saves_it(tmp_path: Path) -> None:
    text = " ".join(_text(_report(_run(tmp_path))).split())
    share = shares(Spectrum.of(DRAWN.tolist()), "float16").zero
    assert f"In float16 {share:.0%}".replace("%", " %") in text
    assert "of the gradient of net.0.weight would be 0; a loss scale of 2^" in text


@pytest.mark.parametrize("scale", [1024.0, 65536.0])
def test_forecasts_are_of_gradients_without_the_loss_scale(tmp_path: Path, scale: float) -> None:
    plain, scaled = (_report(_run(tmp_path, scale=s)).precision for s in (None, scale))
    assert plain is not None
    assert scaled is not None
    assert plain.rows[2:] == scaled.rows[2:]
    assert plain.said == scaled.said


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_section_fits_its_width(tmp_path: Path, width: int) -> None:
    known = {"expression": "log of softmax", "site": 1, "stable": "F.log_softmax(x, dim)"}
    text = _text(_report(_run(tmp_path, expressions=[known])), width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    assert "precision at step 0" in text


def test_an_expression_is_shown_with_its_line_and_the_stable_call(tmp_path: Path) -> None:
    known = {"expression": "log of softmax", "site": 1, "stable": "F.log_softmax(x, dim)"}
    report = _report(_run(tmp_path, expressions=[known, known, {**known, "site": 99}]))
    assert [(row.line, row.expression) for row in report.expressions] == [(1, "log of softmax")]
    assert "train.py:1  log of softmax: type F.log_softmax(x, dim)" in _text(report)


def test_json_says_the_same(tmp_path: Path) -> None:
    known = {"expression": "norm by hand", "site": 1, "stable": "x.norm()"}
    report = _report(_run(tmp_path, expressions=[known]))
    data = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert data["precision"]["rows"][2]["format"] == "float16"
    assert data["expressions"][0]["stable"] == "x.norm()"


def test_a_record_without_counts_has_no_such_section(tmp_path: Path) -> None:
    run = made_up.run(tmp_path, pulse=[{"loss": 0.7}], sites=[made_up.node(0, -1)])
    report = _report(run)
    assert (report.precision, report.expressions) == (None, ())
    assert "precision" not in _text(report)


def test_a_step_that_is_asked_for_is_the_one_that_is_shown(tmp_path: Path) -> None:
    rows = [
        {"step": step, "parameter": 0, **_counts([10.0**-step], "gradient")} for step in range(4)
    ]
    nodes = [made_up.node(0, -1, step=step) for step in range(4)]
    run = made_up.run(tmp_path, pulse=[{"loss": 0.7}] * 4, sites=nodes, parameters=rows)
    newest, second = _report(run).precision, _report(run, step=1).precision
    assert newest is not None
    assert second is not None
    assert (newest.step, second.step) == (3, 1)


def test_a_sample_of_nothing_but_nan_is_passed_over_for_the_last_that_has_a_number(
    tmp_path: Path,
) -> None:
    nan = float("nan")
    rows = [
        {"step": step, "parameter": 0, **_counts([value, value], "gradient")}
        for step, value in enumerate([0.5, 0.25, nan, nan])
    ]
    nodes = [made_up.node(0, -1, step=step) for step in range(4)]
    run = made_up.run(tmp_path, pulse=[{"loss": 0.7}] * 4, sites=nodes, parameters=rows)
    last, asked = _report(run).precision, _report(run, step=3).precision
    assert last is not None
    assert asked is not None
    assert (last.step, asked.step) == (1, 3)
