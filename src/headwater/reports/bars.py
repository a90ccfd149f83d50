"""The level of the gradient as a bar: what leaves, and what was lost or gained on the way."""

from __future__ import annotations

import math
from dataclasses import dataclass

NOTABLE = 0.3
"""Decades of change that are worth a look: the gradient halves or doubles."""

LEVEL, LOST, GAINED, OTHERS, GONE = "blue", "red", "magenta", "dim", "bold red"

Piece = tuple[str, str]
"""Characters and their style."""

_EIGHTHS = " ▏▎▍▌▋▊▉"


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Decades from ``low`` to ``high`` on ``width`` cells."""

    low: float
    high: float
    width: int

    def cells(self, level: float) -> float:
        """Return how many cells a level fills, at most all."""
        share = (level - self.low) / (self.high - self.low) if math.isfinite(level) else 0.0
        return min(max(share, 0.0), 1.0) * self.width

    def axis(self) -> str:
        """Label the ends, and the loss's 0 where it lies between them.

        Example:
            >>> Scale(low=-12, high=0, width=16).axis(), Scale(low=-2, high=10, width=16).axis()
            ('-12            0', '-2 0         +10')
        """
        left, right = f"{self.low:.0f}", "0" if self.high == 0 else f"{self.high:+.0f}"
        line = list(left + " " * max(1, self.width - len(left) - len(right)) + right)
        at = round(self.cells(0.0))
        if self.high > 0 and len(left) < at < self.width - len(right) - 1:
            line[at] = "0"
        return "".join(line)[: self.width]


def bar(
    level_in: float | None, level_out: float | None, scale: Scale, *, own: bool = True
) -> list[Piece]:
    """Draw the way from ``level_in`` to ``level_out``.

    Solid up to the lower of the two levels; then the way itself, ``░`` where it was lost and
    ``▓`` where it was gained; pale where others did most of it (``own`` is false), as for one of
    several operations in a loop. What is exactly zero or not finite is said in words.

    Example:
        >>> scale = Scale(low=-6.0, high=0.0, width=12)
        >>> for way in ((-2.0, -4.0), (-4.0, -2.0), (-2.0, float("-inf"))):
        ...     "".join(text for text, _ in bar(*way, scale))
        '████░░░░    '
        '████▓▓▓▓    '
        '0░░░░░░░    '
    """
    if level_in is None or level_out is None:
        return [(" " * scale.width, "")]
    if level_in == -math.inf or not (level_in < math.inf and level_out < math.inf):
        words = "exactly 0" if level_in == -math.inf else "not finite"
        return _filled([(words[: scale.width], GONE)], scale.width)
    if level_out - level_in >= NOTABLE:
        return _grown(level_in, level_out, scale, GAINED if own else OTHERS)
    return _shrunk(level_in, level_out, scale, LOST if own else OTHERS)


def _grown(level_in: float, level_out: float, scale: Scale, style: str) -> list[Piece]:
    solid = min(math.floor(scale.cells(level_in)), scale.width - 1)
    gained = max(1, round(scale.cells(level_out)) - solid)
    return _filled([("█" * solid, LEVEL), ("▓" * gained, style)], scale.width)


def _shrunk(level_in: float, level_out: float, scale: Scale, style: str) -> list[Piece]:
    solid, solid_style = "0", GONE
    if level_out > -math.inf:
        solid, solid_style = _solid(level_out, scale), LEVEL
    # A halving is always seen, also where a cell is worth more than it.
    least = 1 if level_in - level_out >= NOTABLE else 0
    solid = solid[: scale.width - least]
    lost = max(round(scale.cells(level_in)) - len(solid), least)
    return _filled([(solid, solid_style), ("░" * lost, style)], scale.width)


def _solid(level: float, scale: Scale) -> str:
    """Return a bar of whole cells and eighths: at least one eighth, to be seen at all."""
    eighths = max(round(scale.cells(level) * 8), 1)
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")


def _filled(pieces: list[Piece], width: int) -> list[Piece]:
    return [*pieces, (" " * (width - sum(len(text) for text, _ in pieces)), "")]
