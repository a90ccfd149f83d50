"""Exit codes, and what is said on stderr."""

from __future__ import annotations

import sys
from contextlib import suppress

USAGE, FINDINGS, FAULT = 2, 3, 70
"""Exit codes besides the script's own."""


def say(line: str) -> None:
    """Print a line of ours on stderr, after what the script wrote on stdout.

    It goes to the process's own stderr even if the script has put another in its place, and
    nowhere if that is closed.
    """
    with suppress(Exception):  # a broken stdout is the script's affair, and python's at exit
        sys.stdout.flush()
    with suppress(OSError, ValueError, AttributeError):
        print(f"headwater: {line}", file=sys.__stderr__, flush=True)


def fault_line(error: BaseException) -> str:
    """Return one line about a fault of ours.

    Example:
        >>> fault_line(KeyError("x"))
        "a fault of headwater's: KeyError: 'x' (HEADWATER_DEBUG=1 shows the traceback)"
    """
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return f"a fault of headwater's: {text} (HEADWATER_DEBUG=1 shows the traceback)"
