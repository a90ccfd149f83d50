"""What there is to read of a code or a cause: its own words, as sections.

A code's are the docstring of its rule, a cause's its explanation. The terminal and the pages of
``docs/`` are made from the same sections.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass

from headwater.errors import UnknownTopicError
from headwater.rules import RULES
from headwater.rules.causes import EXPLANATIONS


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and what stands under it; ``code`` is to be set as it is."""

    heading: str
    text: str
    code: bool = False


@dataclass(frozen=True, kw_only=True)
class Page:
    """All there is to read of one code or cause.

    ``related`` has the causes that a code can carry, or the codes that a cause can stand behind.
    """

    name: str
    title: str
    sections: Sequence[Section]
    related: Sequence[str]


def page_of(name: str) -> Page:
    """Return the page of a code or a cause, whatever case it is written in.

    Raises:
        UnknownTopicError: There is none of that name.

    Example:
        >>> page_of("hw106").title, page_of("constant-init").related
        ('identical-units', ('HW106', 'HW202'))
    """
    if name.upper() in RULES:
        return _of_code(name.upper())
    if name.lower() in EXPLANATIONS:
        return _of_cause(name.lower())
    by_symptom = {rule.symptom: code for code, rule in RULES.items()}
    if name.lower() in by_symptom:
        return _of_code(by_symptom[name.lower()])
    raise UnknownTopicError(name, (*RULES, *EXPLANATIONS, *by_symptom))


def _of_code(code: str) -> Page:
    rule = RULES[code]
    _, *rest = re.split(r"\n\n(?=[A-Z][a-z ]+:\n)", inspect.cleandoc(str(rule.__doc__)))
    sections = [_section(part) for part in rest]
    return Page(name=code, title=rule.symptom, sections=sections, related=tuple(rule.causes))


def _section(part: str) -> Section:
    heading, _, text = part.partition(":\n")
    return Section(heading=heading, text=re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.cleandoc(text)))


def _of_cause(name: str) -> Page:
    told = EXPLANATIONS[name]
    sections = [
        Section(heading="What is wrong", text=told.what),
        Section(heading="What argues for it", text=told.seen),
        Section(heading="What to do", text=told.do),
        Section(heading="In code", text=told.code, code=True),
        Section(heading="References", text=told.source),
    ]
    return Page(
        name=name,
        title=name,
        sections=[section for section in sections if section.text],
        related=tuple(code for code, rule in RULES.items() if name in rule.causes),
    )


def topics() -> Sequence[tuple[str, str]]:
    """Return all codes and causes, each with a line of what it is."""
    codes = [(code, rule.symptom) for code, rule in RULES.items()]
    return [*codes, *((name, _first_sentence(one.what)) for name, one in EXPLANATIONS.items())]


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=\.) |: ", text, maxsplit=1)[0].rstrip(".") + "."
