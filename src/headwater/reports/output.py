"""Styled lines as one string: with or without colour, for any encoding."""

from __future__ import annotations

from collections.abc import Iterable
from io import StringIO
from typing import Literal, TextIO

from rich.console import Console
from rich.text import Text

from headwater.reports.cells import ascii_safe

WIDTH = 80
"""Columns of the text where there is no terminal to ask."""

Color = Literal["auto", "always", "never"]


def rendered(lines: Iterable[Text], *, color: Color = "never", file: TextIO | None = None) -> str:
    r"""Return the lines as text for ``file``.

    Example:
        >>> rendered([Text("level", style="bold")])
        'level\n'
        >>> rendered([Text("level", style="bold")], color="always")
        '\x1b[1mlevel\x1b[0m\n'
    """
    system = _colors(color, file)
    canvas = StringIO()
    console = Console(
        file=canvas,
        force_terminal=system is not None,
        color_system=system,
        no_color=False,
        legacy_windows=False,
        width=10_000,
    )
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False, emoji=False)
    return ascii_safe(canvas.getvalue(), getattr(file, "encoding", None) or "utf-8")


def _colors(
    color: Color, file: TextIO | None
) -> Literal["standard", "256", "truecolor", "windows"] | None:
    if color == "never" or (color == "auto" and (file is None or not file.isatty())):
        return None
    if color == "always":
        return "standard"
    # rich knows NO_COLOR, TERM=dumb and the rest.
    probe = Console(file=file)
    return None if probe.no_color or not probe.color_system else "standard"


def screen_width(file: TextIO) -> int:
    """Return the width of the terminal behind ``file``, or :data:`WIDTH` where there is none."""
    return max(Console(file=file).width, 40) if file.isatty() else WIDTH
