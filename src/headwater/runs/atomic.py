"""Files that are replaced whole, so that a reader sees the old or the new, never a half."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from headwater.runs.info import plain


def replace_json(path: Path, data: Any) -> None:
    """Write ``data`` as JSON to ``path`` in one atomic step.

    Not synced to the disk: a killed process loses nothing by that, only a power cut would.

    Raises:
        OSError: The disk is full or the folder cannot be written; ``path`` is as it was.
    """
    text = json.dumps(plain(data), indent=1)
    draft = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        draft.write_text(text + "\n", encoding="ascii")
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
