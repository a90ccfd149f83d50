"""Compilation of the kernel's functions, kept on disk for the next process.

numba keeps what it compiled beside the source and compiles again when *that* file changes. A
function here is made of functions of its neighbours, which numba does not look at: after an update
of one file an old kernel would go on running. So the stamp that decides is taken over all files
that become machine code.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from numba import njit

SOURCES = (
    "compiler",
    "elementary",
    "kernel",
    "lanes",
    "memory",
    "passes",
    "pointwise",
    "randomness",
    "returns",
    "space",
    "updates",
)
"""The modules whose text or constants end up in the compiled code."""


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function when it is first called; it holds no lock of Python's while it runs.

    Where nothing can be kept, it is compiled in every process: slow, and never wrong.
    """
    try:
        dispatcher = njit(cache=True, nogil=True)(function)
    except RuntimeError:  # neither the source's folder nor the user's cache can be written
        return njit(nogil=True)(function)
    # A private name of numba's; a test asks the installed numba for it.
    file: Any = getattr(dispatcher._cache, "_cache_file", None)
    if not hasattr(file, "_source_stamp"):
        return njit(nogil=True)(function)
    file._source_stamp = (file._source_stamp, STAMP)
    return dispatcher


def _stamp() -> str:
    folder, digest = Path(__file__).parent, sha256()
    for name in SOURCES:
        digest.update((folder / f"{name}.py").read_bytes())
    return digest.hexdigest()


STAMP = _stamp()
