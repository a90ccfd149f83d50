"""What is said of one cause, wherever it is told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A cause in words.

    ``what`` is wrong, ``seen`` the figures that argue for it, ``do`` what treats it, ``code`` that
    as PyTorch, ``source`` where it is published; the last two may be empty.
    """

    what: str
    seen: str
    do: str
    code: str = ""
    source: str = ""
