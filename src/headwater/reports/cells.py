"""Text in terminal cells: clipped, cleaned, aligned, and readable where there is only ASCII."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size

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
