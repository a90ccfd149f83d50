"""What all rules keep: three answers, whatever the record; words and numbers that can be shown."""

import inspect
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import made_up
import pytest
from chains import Layer, chain, falling, flat
from halves import growing_outputs, small_gradients
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.records import KINDS, SEVERITIES, Finding
from headwater.rules import RULES, judge
from headwater.runs.reader import Run

SECTIONS = ("What it sees:", "Why it hurts:", "Example:", "References:")


def _sick_runs(folder: Path) -> list[Run]:
    dead = {"dead": 1.0, "dead_recent": 1.0, "dead_run": 1.0}
    cut = made_up.parameter("cut.weight", got_gradient=False, module_called=True)
    return [
        chain(folder, [Layer(activation=-0.7, update=1e-9)] * 8, losses=flat()),
        chain(folder, [Layer(weights=0.6, update=3.0)] * 8, losses=flat()),
        chain(folder, [Layer(statistics=dead)] * 3, losses=flat(), operation="Relu"),
        chain(folder, [Layer(statistics={"saturated": 0.9})] * 3, losses=flat()),
        chain(folder, [Layer(statistics={"first_direction": 0.999})] * 3, losses=flat()),
        chain(folder, [Layer(activation=-0.2)] * 20, losses=flat(), recurrent=True),
        made_up.run(folder, pulse=[{"loss": 0.1 * 1.2**step} for step in range(100)]),
        made_up.run(
            folder,
            pulse=[{"loss": 1.0 + 0.5 * (-1) ** step} for step in range(200)],
            parameters=[
                {
                    "step": step,
                    "parameter": 0,
                    "unit_l1": [1.0, 1.0],
                    "weight_norm": 1.0,
                    "relative_update": 0.1,
                }
                for step in (0, 4, 8, 100)
            ],
        ),
        small_gradients(folder),
        growing_outputs(folder),
        made_up.run(
            folder,
            pulse=[{"loss": loss} for loss in [*flat(20), math.nan]],
            info={"parameters": [cut]},
        ),
    ]


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> list[Finding]:
    runs = _sick_runs(tmp_path_factory.mktemp("sick"))
    return [found for run in runs for verdict in judge(run) for found in verdict.findings]


def test_the_sick_runs_make_every_rule_speak(findings: list[Finding]) -> None:
    assert {found.code for found in findings} == set(RULES)


def test_a_message_has_two_sentences_at_most_and_says_what_to_do(findings: list[Finding]) -> None:
    for found in findings:
        sentences = re.split(r"(?<=[a-z)\d])\. (?=[A-Z])", found.message)
        assert len(sentences) <= 2, found.message
        assert found.message.endswith(".")
        assert found.remedies


def test_evidence_is_finite_numbers_with_a_threshold(findings: list[Finding]) -> None:
    for found in findings:
        numbers = [value for value in found.evidence.values() if not isinstance(value, str)]
        assert all(math.isfinite(value) for value in numbers), (found.code, found.evidence)
        assert any("limit" in name or "least" in name for name in found.evidence), found.evidence


def test_findings_are_plain_data(findings: list[Finding]) -> None:
    for found in findings:
        again = json.loads(json.dumps(found.to_json(), allow_nan=False))
        assert again["code"] == found.code
        assert found.severity in SEVERITIES
        assert 0 < found.confidence <= 1
        assert found.first_step <= found.step
        assert sum(cause.share for cause in found.causes) <= 1.0 + 1e-9


@pytest.mark.parametrize("code", sorted(RULES))
def test_a_rules_docstring_is_its_page(code: str) -> None:
    words = inspect.getdoc(type(RULES[code])) or ""
    places = [words.index(section) for section in SECTIONS]
    assert places == sorted(places)
    assert type(RULES[code]).__name__ == code


def test_rules_run_where_torch_and_scipy_are_not_loaded(tmp_path: Path) -> None:
    run = chain(tmp_path, [Layer()] * 3, losses=falling())
    script = (
        "import sys; from headwater.runs.reader import Run; from headwater.rules import judge; "
        f"judge(Run.open({str(run.path)!r})); "
        "print([name for name in ('torch', 'scipy', 'rich') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "[]"


def test_a_family_of_rules_never_imports_another() -> None:
    families = {Path(inspect.getfile(type(rule))).stem for rule in RULES.values()}
    for rule in RULES.values():
        source = inspect.getsource(sys.modules[type(rule).__module__])
        imported = set(re.findall(r"headwater\.rules\.(\w+)", source))
        assert not imported & families, type(rule).__name__


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_run_that_has_hardly_begun_is_never_wrong(tmp_path: Path, steps: int) -> None:
    layers = [Layer(activation=-0.7, update=1e-9, statistics={"saturated": 1.0, "dead": 1.0})] * 8
    run = chain(tmp_path, layers, losses=flat(steps), samples=range(steps))
    answers = {verdict.code: verdict.answer for verdict in judge(run)}
    assert "wrong" not in answers.values()
    for code in ("HW101", "HW102", "HW103", "HW104", "HW201", "HW202"):
        assert answers[code] == "cannot say"


LEVELS = st.sampled_from([0.0, -3.0, 5.0, -math.inf, math.nan])
SHARES = st.sampled_from([None, 0.0, 0.5, 1.0, math.nan])
OPERATIONS = st.sampled_from(["Addmm", "Tanh", "Relu", "Sqrt", "NllLoss", "Sum", "ToCopy"])
DTYPES = st.sampled_from([None, "float16", "float32", "int7"])
COUNTS = st.sampled_from([None, [], [None, 3], [900, 400, 200]])


@st.composite
def _records(draw: st.DrawFn) -> dict[str, Any]:
    """Records as no observer writes them: any tree, or none, any numbers, any gaps."""
    nodes = draw(st.integers(1, 8))
    steps = draw(st.lists(st.integers(0, 20), min_size=1, max_size=5, unique=True))
    rows = [
        made_up.node(
            node,
            draw(st.integers(-1, nodes)),
            step=step,
            level=draw(LEVELS),
            edge_decades=draw(LEVELS),
            elements=draw(st.integers(0, 9)),
            parameter=draw(st.sampled_from([None, None, 0, 1])),
            units=draw(st.integers(0, 5)),
            saturated=draw(SHARES),
            dead=draw(SHARES),
            dead_recent=draw(SHARES),
            mean=draw(SHARES),
            dtype=draw(DTYPES),
            output_dtype=draw(DTYPES),
            output_largest=draw(LEVELS),
            output_exponent=draw(st.sampled_from([None, -140, 3])),
            output_counts=draw(COUNTS),
            output_zeros=draw(st.sampled_from([None, 0, 9])),
        )
        for step in steps
        for node in range(nodes)
    ]
    loss = st.sampled_from([None, 0.7, 0.3, 1e30, math.inf, math.nan])
    return {
        "sites": rows,
        "pulse": [
            {"loss": draw(loss), "total_norm": draw(LEVELS), "gradient_norms": [draw(LEVELS)]}
            for _ in range(draw(st.integers(0, 60)))
        ],
        "parameters": [
            {
                "step": step,
                "parameter": draw(st.integers(0, 1)),
                "weight_norm": draw(LEVELS),
                "relative_update": draw(LEVELS),
                "lost_share": draw(SHARES),
                "learning_rate": draw(SHARES),
                "gradient_max": draw(LEVELS),
                "gradient_exponent": draw(st.sampled_from([None, -24, 3])),
                "gradient_counts": draw(COUNTS),
                "gradient_zeros": draw(st.sampled_from([None, 0, 9])),
            }
            for step in steps
        ],
        "info": {
            "sites": [
                made_up.site(draw(OPERATIONS), draw(st.sampled_from(KINDS))) for _ in range(nodes)
            ],
            "parameters": [made_up.parameter("p", dtype=draw(st.sampled_from(["float16", "x"])))],
            "expressions": [{"expression": "norm", "site": draw(st.integers(-1, 9)), "stable": ""}],
        },
    }


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(record=_records())
def test_whatever_the_record_every_rule_answers(tmp_path: Path, record: dict[str, Any]) -> None:
    verdicts = judge(made_up.run(tmp_path, **record))
    assert [verdict.code for verdict in verdicts] == list(RULES)
    for verdict in verdicts:
        assert bool(verdict.findings) == (verdict.answer == "wrong")
        assert verdict.reason
        for found in verdict.findings:
            json.dumps(found.to_json())
