"""What ran, how it ended, and what the reader of its record should know."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from headwater.reports.view import Head, State

if TYPE_CHECKING:
    from headwater.runs.reader import Run

QUIET_S = 10.0
"""A run without an end whose record was written more recently than this is still running: the
observer flushes every 2 s, and a slow disk is allowed the rest."""


def head(run: Run, *, now: float) -> Head:
    """Return what ran and how it ended.

    Args:
        run: The run.
        now: Seconds since the epoch, to tell a run that still goes on from a killed one.
    """
    info = run.info
    elapsed, observer = (_seconds(info.overhead.get(key)) for key in ("elapsed_s", "observer_s"))
    own = elapsed - observer if elapsed is not None and observer is not None else 0.0
    state, ending = _ending(run, now)
    first, last = _losses(run)
    samples = len(run.sampled_steps)
    return Head(
        run=str(run.path),
        command=_command(run),
        started=info.started,
        state=state,
        ending=ending,
        device=tuple(info.device),
        # A process killed early may have left the ledger of a step whose pulse it still held.
        steps=max(len(run.pulse), int(info.overhead.get("steps") or 0), samples),
        samples=samples,
        overhead=observer / own if observer is not None and own > 0 else None,
        elapsed_s=elapsed,
        first_loss=first,
        last_loss=last,
        alerts=_alerts(run),
    )


def _seconds(value: object) -> float | None:
    number = float(value) if isinstance(value, (int, float)) else None
    return number if number is not None and math.isfinite(number) else None


def _losses(run: Run) -> tuple[float | None, float | None]:
    """Return the first loss and the last; none where several optimisers take turns at their own."""
    if len(run.info.optimisers) > 1:
        return None, None
    losses = run.pulse["loss"].drop_null()
    return (losses[0].as_py(), losses[-1].as_py()) if len(losses) else (None, None)


def _command(run: Run) -> str:
    """Return the words of the command, the script by its name alone."""
    script = run.info.script
    words = [word for word in run.info.command if word]
    if words and PurePath(words[0]).name.startswith("python"):
        words = words[1:]
    name = PurePath(script).name
    named = [name if name and PurePath(word).name == name else word for word in words]
    return shlex.join(named) or name or "(unknown script)"


def _ending(run: Run, now: float) -> tuple[State, str]:
    ended = run.info.exit
    if ended is not None:
        exception, code = ended.get("exception"), ended.get("code")
        if exception:
            return "failed", f"ended by {exception}"
        if code in (0, None):
            return "finished", "finished"
        return "failed", f"ended with exit code {code}"
    if run.info.ended is not None:
        return "finished", "finished"
    if now - _last_written(run.path) < QUIET_S:
        return "running", "still running"
    return "killed", "no end recorded: it was killed, or its machine stopped"


def _last_written(folder: Path) -> float:
    try:
        return max((path.stat().st_mtime for path in folder.iterdir()), default=0.0)
    except OSError:
        return 0.0


def _alerts(run: Run) -> tuple[str, ...]:
    """Return what makes this record less than whole."""
    said = []
    observation = run.info.observation
    if observation.get("status") == "stopped":
        reason = observation.get("reason") or "no reason recorded"
        said.append(f"the observation stopped before the end: {reason}")
    if run.truncated:
        tables = _listed([f"{name}.arrow" for name in run.truncated])
        said.append(f"{tables} cut off in the middle of a write; shown up to there")
    return tuple(said)


def notes(run: Run, disk_sources: Sequence[str] = ()) -> tuple[str, ...]:
    """Return what limits the picture: unknown operations, unseen regions, the observer's own notes.

    Args:
        run: The run.
        disk_sources: Files whose text the record lacks and that changed on disk since it began.
    """
    info = run.info
    said = []
    if info.unknown_operations:
        counted = sorted(info.unknown_operations.items(), key=lambda item: -item[1])
        named = [f"{name} ({count}×)" for name, count in counted[:8]]
        more = [f"{len(counted) - 8} others"] if len(counted) > 8 else []
        said.append(f"operations this version does not know: {_listed(named + more)}")
    compiled = info.unseen.get("compiled_nodes") or 0
    if compiled:
        said.append(_compiled(compiled, info.unseen.get("compiled_parameter_share")))
    said.extend(f"{file} has changed since the run began" for file in disk_sources)
    said.extend(str(note) for note in info.observation.get("notes") or ())
    return tuple(said)


def _compiled(regions: int, share: float | None) -> str:
    known = isinstance(share, (int, float)) and math.isfinite(share)
    hold = f" with {share:.0%} of the parameters" if known else ""
    what = (
        f"1 compiled region{hold} is" if regions == 1 else f"{regions} compiled regions{hold} are"
    )
    return f"{what} not seen inside; `headwater run --eager-samples` opens compiled regions"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
