"""``headwater explain``: what a code or a cause means, how it is told, and what to do."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import asdict
from textwrap import indent, wrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headwater.rules.pages import Page

_WIDTH = 80


def add_arguments(parser: ArgumentParser, /) -> None:
    """Declare the command's words."""
    parser.add_argument(
        "topic",
        metavar="NAME",
        nargs="?",
        help="a code (HW104), its symptom, or a cause that a finding names; all if left out",
    )
    parser.add_argument("--json", action="store_true", help="the same as JSON")


def run(arguments: Namespace, /) -> int:
    """Print one page, or the list of all."""
    from headwater.rules.pages import page_of, topics

    if arguments.topic is None:
        known = topics()
        width = max(len(name) for name, _ in known)
        listed = "\n".join(line for name, words in known for line in _entry(name, words, width))
        print(json.dumps(dict(known), indent=2) if arguments.json else listed)
        return 0
    page = page_of(arguments.topic)
    print(json.dumps(asdict(page), indent=2) if arguments.json else "\n".join(lines(page)))
    return 0


def lines(page: Page) -> Iterator[str]:
    """Yield a page as lines of at most 80 columns."""
    title = page.name if page.title == page.name else f"{page.name} {page.title}"
    yield title
    yield "=" * len(title)
    for section in page.sections:
        yield ""
        yield section.heading
        if section.code:
            yield indent(section.text, "    ")
        else:
            yield from _paragraph(section.text)
    related = "Causes" if page.name.startswith("HW") else "Told by"
    if page.related:
        yield ""
        yield related
        yield from _paragraph(", ".join(page.related))


def _paragraph(text: str) -> list[str]:
    return wrap(text, _WIDTH, initial_indent="    ", subsequent_indent="    ",
                break_on_hyphens=False, break_long_words=False)  # fmt: skip


def _entry(name: str, words: str, width: int) -> list[str]:
    return wrap(
        words, _WIDTH, initial_indent=f"{name:{width}}  ", subsequent_indent=" " * (width + 2)
    )
