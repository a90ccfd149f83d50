"""Write docs/rules: a page for each code and cause; `make pages` calls it.

The words are the rules' own, and are written always. The examples, with a picture each, are of the
corpus's tune half: of those trainings whose label fits, the one that was told with the highest
confidence. They are drawn anew only where the corpus is recorded.

    python docs/fill_pages.py [--words]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from headwater.rules import RULES
from headwater.rules.causes import EXPLANATIONS
from headwater.rules.pages import Page, page_of

FOLDER = Path(__file__).parent / "rules"
EXAMPLES = "examples.json"


@dataclass(frozen=True, kw_only=True)
class Example:
    """A training of the corpus and what was told of it; ``picture`` is relative to the page."""

    case: str
    injected: str
    message: str
    picture: str
    caption: str


def main() -> None:
    """Write all pages; with the corpus's examples unless only --words are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--words", action="store_true", help="leave the examples as they are")
    if not parser.parse_args().words:
        from page_examples import make_examples  # beside this file; needs matplotlib

        made = {name: asdict(example) for name, example in make_examples(FOLDER).items()}
        (FOLDER / EXAMPLES).write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n")
    for name, text in texts(FOLDER).items():
        (FOLDER / name).write_text(text)


def texts(folder: Path) -> Mapping[str, str]:
    """Return every page's text by its file's name."""
    path = folder / EXAMPLES
    kept = json.loads(path.read_text()) if path.exists() else {}
    examples = {name: Example(**example) for name, example in kept.items()}
    pages = {f"{name}.md": _text(name, examples.get(name)) for name in (*RULES, *EXPLANATIONS)}
    return {"README.md": _index(), **pages}


def _index() -> str:
    codes = [f"| [{code}]({code}.md) | {rule.symptom} |" for code, rule in RULES.items()]
    causes = [
        f"| [{name}]({name}.md) | {', '.join(page_of(name).related)} |" for name in EXPLANATIONS
    ]
    return "\n".join([
        "# Codes and causes",
        "",
        "What Headwater can tell, each on a page of its own: what is seen, why it hurts, which",
        "figures argue for which cause, and what to do. `headwater explain NAME` prints the same.",
        "`make pages` writes these pages from the rules; how often they are right is in",
        "[accuracy](../accuracy.md).",
        "",
        "| code | symptom |",
        "| --- | --- |",
        *codes,
        "",
        "| cause | told by |",
        "| --- | --- |",
        *causes,
        "",
    ])  # fmt: skip


def _text(name: str, example: Example | None) -> str:
    page = page_of(name)
    title = page.name if page.name == page.title else f"{page.name} {page.title}"
    parts = [f"# {title}"]
    for section in page.sections:
        body = f"```python\n{section.text}\n```" if section.code else section.text
        parts.append(f"## {section.heading}\n\n{body}")
    if example is not None:
        parts.append(_of_example(example))
    parts.append(_related(page))
    return "\n\n".join(parts) + "\n"


def _of_example(example: Example) -> str:
    return (
        f"## From the corpus\n\n![{example.caption}]({example.picture})\n\n{example.caption}\n\n"
        f"Injected into `{example.case}`: {example.injected}. What was told:\n\n"
        f"> {example.message}"
    )


def _related(page: Page) -> str:
    heading = "Causes" if page.name in RULES else "Told by"
    links = ", ".join(f"[{name}]({name}.md)" for name in page.related)
    return f"## {heading}\n\n{links}"


if __name__ == "__main__":
    main()
