"""The level of the gradient as a bar: what leaves, and what was lost or gained on the way."""

from __future__ import annotations

import math

Piece = tuple[str, str]
"""Characters and their style."""

_EIGHTHS = " ▏▎▍▌▋▊▉"
NOTABLE = 0.3
"""Decades of change that are worth a look: the gradient halves or doubles."""

LEVEL, LOST, GAINED, OTHERS, GONE = "blue", "red", "magenta", "dim", "bold red"


def bar(
    level_in: float | None,
    level_out: float | None,
    low: float,
    high: float,
    width: int,
    *,
    own: bool = True,
) -> list[Piece]:
    """Draw the way from ``level_in`` to ``level_out`` on a scale from ``low`` to ``high`` decades.

    Solid up to the lower of the two levels; then the way itself, ``░`` where it was lost and
    ``▓`` where it was gained; pale where others did most of it (``own`` is false), as for one of
    several operations in a loop. What is exactly zero or not finite is said in words.

    Example:
        >>> "".join(text for text, _ in bar(-2.0, -4.0, -6.0, 0.0, 12))
        '████░░░░    '
        >>> "".join(text for text, _ in bar(-4.0, -2.0, -6.0, 0.0, 12))
        '████▓▓▓▓    '
        >>> "".join(text for text, _ in bar(-2.0, float("-inf"), -6.0, 0.0, 12))
        '0░░░░░░░    '
    """
    if level_in is None or level_out is None:
        return [(" " * width, "")]
    if level_in == -math.inf or not all(level < math.inf for level in (level_in, level_out)):
        words = "exactly 0" if level_in == -math.inf else "not finite"
        return _filled([(words[:width], GONE)], width)
    start, end = (_cells(level, low, high, width) for level in (level_in, level_out))
    if level_out - level_in >= NOTABLE:
        whole = min(math.floor(start), width - 1)
        gained = "▓" * max(1, round(end) - whole)
        return _filled([("█" * whole, LEVEL), (gained, GAINED if own else OTHERS)], width)
    if level_out == -math.inf:
        solid, style = "0", GONE
    else:
        solid, style = _solid(end, width), LEVEL
    # A halving is always seen, also where a cell is worth more than it.
    least = 1 if level_in - level_out >= NOTABLE and len(solid) < width else 0
    lost = "░" * max(round(start) - len(solid), least)
    return _filled([(solid, style), (lost, LOST if own else OTHERS)], width)


def axis(low: float, high: float, width: int) -> str:
    """Label the ends of the bars, and the loss's 0 where it lies between them.

    Example:
        >>> axis(-12, 0, 16), axis(-2, 10, 16)
        ('-12            0', '-2 0         +10')
    """
    left, right = f"{low:.0f}", "0" if high == 0 else f"{high:+.0f}"
    line = list(left + " " * max(1, width - len(left) - len(right)) + right)
    at = round(_cells(0.0, low, high, width))
    if high > 0 and len(left) < at < width - len(right) - 1:
        line[at] = "0"
    return "".join(line)[:width]


def _cells(level: float, low: float, high: float, width: int) -> float:
    share = (level - low) / (high - low) if math.isfinite(level) else 0.0
    return min(max(share, 0.0), 1.0) * width


def _solid(cells: float, width: int) -> str:
    """Return a bar of whole cells and eighths: at least one eighth, to be seen at all."""
    whole, rest = divmod(min(max(round(cells * 8), 1), width * 8), 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")


def _filled(pieces: list[Piece], width: int) -> list[Piece]:
    return [*pieces, (" " * (width - sum(len(text) for text, _ in pieces)), "")]
