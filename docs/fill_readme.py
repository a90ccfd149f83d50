"""Paste what ``headwater demo`` really prints into README.md, between its two markers.

`make readme` runs it; nothing else may write there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
START, END = "<!-- demo -->\n", "<!-- /demo -->\n"


def demo() -> str:
    """Return the demo's output, plain and 80 columns wide, as away from a terminal."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "headwater", "demo"],
            cwd=folder,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            stdout=subprocess.PIPE,
            encoding="utf-8",
            check=True,
        )
    return done.stdout


def filled(readme: str, output: str) -> str:
    r"""Return ``readme`` with ``output`` between its markers, and nothing else changed.

    Raises:
        ValueError: The markers are not there, once each and in order.

    Example:
        >>> print(filled("a\n<!-- demo -->\nold\n<!-- /demo -->\nb\n", "new\n"))
        a
        <!-- demo -->
        ```text
        new
        ```
        <!-- /demo -->
        b
        <BLANKLINE>
    """
    before, start, rest = readme.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(f"{README.name} needs the lines {START.strip()} and {END.strip()}")
    return f"{before}{START}```text\n{output.strip()}\n```\n{END}{after}"


if __name__ == "__main__":
    README.write_text(filled(README.read_text(encoding="utf-8"), demo()), encoding="utf-8")
