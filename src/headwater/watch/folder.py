"""Where a run's record goes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from headwater.errors import UsageError


def run_folder(start: Path, stem: str, environ: Mapping[str, str], now: datetime) -> Path:
    """Return a folder under ``start`` that no run has taken yet; nothing is made.

    Each process of a distributed job gets a folder of its own in the job's. That the processes
    of one node agree on the job's folder, its time is when their common parent started, where
    the system tells.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as start:
        ...     run_folder(Path(start), "train", {}, datetime(2026, 11, 22, 20, 15)).name
        '20261122-201500-train'
    """
    rank = rank_folder(environ)
    started = (_parent_start() if rank else None) or now
    name = f"{started:%Y%m%d-%H%M%S}-{stem}"
    folder, count = start / "headwater-runs" / name, 1
    while (folder / rank).exists():
        count += 1
        folder = folder.with_name(f"{name}-{count}")
    return folder / rank


def given_folder(out: Path, environ: Mapping[str, str]) -> Path:
    """Return the folder that ``--out`` names, for this process.

    Raises:
        UsageError: It holds a run already.
    """
    folder = out.absolute() / rank_folder(environ)
    if (folder / "run.json").exists():
        raise UsageError(
            f"--out got {str(out)!r}, which already holds a run; name a new folder, or remove it"
        )
    return folder


def rank_folder(environ: Mapping[str, str]) -> str:
    """Return this process's folder within the job's; empty where the job is one process.

    Example:
        >>> rank_folder({"WORLD_SIZE": "4", "RANK": "3"}), rank_folder({"WORLD_SIZE": "1"})
        ('rank3', '')
    """
    size, rank = environ.get("WORLD_SIZE", ""), environ.get("RANK", "")
    return f"rank{int(rank)}" if size.isdigit() and int(size) > 1 and rank.isdigit() else ""


def _parent_start() -> datetime | None:
    try:
        stat = Path(f"/proc/{os.getppid()}/stat").read_text()
        boot = Path("/proc/stat").read_text().partition("btime ")[2].split(maxsplit=1)[0]
        # The 22nd field; the second, the program's name, may hold spaces and brackets.
        ticks = int(stat.rpartition(")")[2].split()[19])
        return datetime.fromtimestamp(int(boot) + ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError):
        return None
