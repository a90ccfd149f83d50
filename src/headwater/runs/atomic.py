"""Files that are replaced whole, so that a reader sees the old or the new, never a half."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from headwater.runs.info import plain


def replace_json(path: Path, data: Any, *, spare: int = 0) -> None:
    """Write ``data`` as JSON to ``path`` in one atomic step, with ``spare`` blanks after it.

    Not synced to the disk: a killed process loses nothing by that, only a power cut would.

    Raises:
        OSError: The disk is full or the folder cannot be written; ``path`` is as it was.
    """
    text = _text(data) + " " * spare
    draft = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        draft.write_text(text + "\n", encoding="ascii")
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def overwrite_json(path: Path, data: Any) -> None:
    """Write ``data`` as JSON over what is in ``path``, which takes no room on a full disk.

    Not atomic: only for last words that could not be said otherwise.

    Raises:
        OSError: It cannot be written, or is longer than what is there.
    """
    text = (_text(data) + "\n").encode("ascii")
    size = path.stat().st_size
    if len(text) > size:
        raise OSError(f"{path} has {size} bytes, {len(text)} do not fit")
    with path.open("r+b") as file:
        file.write(text.ljust(size))


def _text(data: Any) -> str:
    return json.dumps(plain(data), indent=1)
