"""Every cause that can be told is explained, once, and the pages say what the code says."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater import rules
from headwater.errors import UnknownTopicError
from headwater.records import Cause
from headwater.rules import RULES, stalled
from headwater.rules.causes import EXPLANATIONS
from headwater.rules.pages import page_of, topics

DOCS = Path(__file__).parents[2] / "docs"
PACKAGE = Path(rules.__file__).parents[1]
SOURCES = [
    *sorted((PACKAGE / "rules").glob("*.py")),
    PACKAGE / "watch" / "faults.py",
    PACKAGE / "replay" / "reasons.py",
]
HEADINGS = ["What it sees", "Why it hurts", "Example", "References"]


def told_in(path: Path) -> Iterator[str]:
    """Yield the causes that a source makes findings or reasons of, where they stand as words."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        given = [each.value for each in node.keywords if each.arg == "cause"]
        given += node.args[:1] if name == "Reason" else []
        yield from (one.value for one in given if isinstance(one, ast.Constant) and one.value)


def test_every_declared_cause_is_explained_and_every_explanation_declared() -> None:
    declared = {cause for rule in RULES.values() for cause in rule.causes}
    assert declared == set(EXPLANATIONS)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_cause_is_told_that_is_not_explained(path: Path) -> None:
    assert set(told_in(path)) <= set(EXPLANATIONS)


def test_the_search_for_told_causes_finds_them() -> None:
    found = {cause for path in SOURCES for cause in told_in(path)}
    assert {"constant-init", "log-of-zero", "bad-input", "attention-collapse"} <= found


@pytest.mark.parametrize("code", RULES)
def test_every_rule_has_the_sections_of_a_page(code: str) -> None:
    page = page_of(code)
    assert [section.heading for section in page.sections] == HEADINGS
    assert all(section.text for section in page.sections)


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_the_code_of_an_explanation_is_python(name: str) -> None:
    ast.parse(EXPLANATIONS[name].code)


@pytest.mark.parametrize("name", ["hw104", "Saturated-Units", "saturated-units", "HW104"])
def test_a_code_is_found_by_its_symptom_too_in_any_case(name: str) -> None:
    assert page_of(name).name == "HW104"


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownTopicError, match="'saturation'"):
        page_of("saturatio")


def test_topics_are_sentences() -> None:
    assert all(re.fullmatch(r"[A-Z0].*\.", words) for name, words in topics() if name[:2] != "HW")


def test_the_pages_say_what_the_code_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    from fill_pages import FOLDER, texts

    kept = {path.name: path.read_text() for path in FOLDER.glob("*.md")}
    assert kept == texts(FOLDER), "run `python docs/fill_pages.py --words`"
    sys.modules.pop("fill_pages")


def test_every_link_and_picture_of_a_page_is_there() -> None:
    for path in (DOCS / "rules").glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name} leads to {target}"


@pytest.mark.parametrize("cause", stalled.CAUSES)
def test_every_cause_of_a_stall_has_advice_and_a_remedy(cause: str) -> None:
    causes = [Cause(cause=cause, share=1.0, evidence="it was measured")]
    assert re.fullmatch(r": it was measured\. [A-Z].*\.", stalled.reason_and_advice(causes))
    assert stalled.remedies_of_stall(causes)
