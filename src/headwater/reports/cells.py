"""Text in terminal cells: clipped, cleaned, aligned, and readable where there is only ASCII."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

_wrapper = Console(width=80, color_system=None)  # Text.wrap wants one; nothing is printed on it

_ASCII = {
    **dict.fromkeys("█▉▊▋▌", "#"),
    **dict.fromkeys("▍▎▏", " "),
    **{"░": ".", "▒": ".", "▓": "+", "…": "~", "·": "-", "×": "x", "⋮": ":", "–": "-", "—": "-"},
    **{"├": "|", "└": "`", "│": "|", "─": "-", "┈": "-", "↑": "^", "→": ">", "✗": "x", "✓": "v"},
}


def clean(text: str) -> str:
    r"""Return text that a terminal prints in place: no tabs, no escapes, no line breaks.

    Example:
        >>> clean("\tx = '\x1b[31m'")
        "    x = '·[31m'"
    """
    expanded = text.expandtabs(4)
    if expanded.isprintable():
        return expanded
    return "".join(
        char if char.isprintable() else " " if char.isspace() else "·" for char in expanded
    )


def fit(text: str, width: int, *, keep: str = "start") -> str:
    """Clip text to ``width`` cells, marking the cut; ``keep`` its start or its end.

    Example:
        >>> fit("encoder.layers.3.mlp", 12), fit("encoder.layers.3.mlp", 12, keep="end")
        ('encoder.lay…', '…ayers.3.mlp')
    """
    if cell_len(text) <= width:
        return text
    if width < 1:
        return ""
    if keep == "start":
        return set_cell_size(text, width - 1).rstrip() + "…"
    return "…" + set_cell_size(text[::-1], width - 1).rstrip()[::-1]


def pad(text: str, width: int, *, align: str = "left") -> str:
    """Clip or fill text to exactly ``width`` cells.

    Example:
        >>> pad("-0.61", 7, align="right"), pad("網", 4)
        ('  -0.61', '網  ')
    """
    fitted = fit(text, width)
    gap = " " * (width - cell_len(fitted))
    return gap + fitted if align == "right" else fitted + gap


def ascii_safe(text: str, encoding: str) -> str:
    """Return text that ``encoding`` can carry, cell for cell.

    Example:
        >>> ascii_safe("██▌░ 2× 網", "ascii")
        '###. 2x ??'
        >>> ascii_safe("██▌░", "utf-8")
        '██▌░'
    """
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return "".join(
            char if char.isascii() else _ASCII.get(char, "?" * cell_len(char)) for char in text
        )
    return text


def fit_line(line: Text, width: int) -> Text:
    """Clip a styled line to ``width`` cells, marking the cut."""
    line.truncate(width, overflow="ellipsis")
    return line


def paragraph(
    text: str, width: int, *, indent: int = 0, hang: int | None = None, style: str = ""
) -> Iterator[Text]:
    """Wrap text to ``width`` cells; ``hang`` is the indentation of all lines but the first."""
    for index, line in enumerate(wrapped(text, width - max(indent, hang or 0))):
        start = indent if index == 0 or hang is None else hang
        yield Text(" " * start + line, style=style)


def wrapped(text: str, width: int) -> list[str]:
    """Break text into lines of at most ``width`` cells; wide characters count two."""
    lines = Text(clean(text)).wrap(_wrapper, max(width, 8))
    return [line.plain.rstrip() for line in lines]


def listed(items: Iterable[str], width: int, joint: str) -> list[str]:
    """Put items on lines of at most ``width`` cells, breaking none that fits on a line.

    Example:
        >>> listed(["one", "two", "three"], 10, ", ")
        ['one, two,', 'three']
    """
    lines: list[str] = []
    end = joint.rstrip()
    for item in items:
        text = fit(item, width - cell_len(end))
        if lines and cell_len(lines[-1] + joint + text + end) <= width:
            lines[-1] += joint + text
        else:
            lines[-1:] = [*(line + end for line in lines[-1:]), text]
    return lines
