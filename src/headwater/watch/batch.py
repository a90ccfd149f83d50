"""What the statements of a step began with: the batch, by the names that the script has for it.

Nothing is handed over and nothing kept beforehand: where a step breaks, the frames that lead to
its backward pass are alive, and their names hold the data.
"""

from __future__ import annotations

import linecache
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import dedent
from types import FrameType
from typing import Any

from torch import Tensor, nn

from headwater.replay.effects import effect
from headwater.replay.slices import NotReplayable, Slice
from headwater.watch.cuts import cuts_of, tensors_in

_MOST_CHARACTERS = 1000  # of one statement


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Names and what they hold, and the statements that make the loss of it.

    ``note`` says why frames further in than that of the statements could not tell, "" where the
    innermost could.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    statements: tuple[tuple[str, int, str], ...] = ()
    note: str = ""


def batch_of(frames: Sequence[FrameType]) -> Batch:
    """Return what the loss was made of, from the innermost of ``frames`` that can tell.

    A frame cannot where its source is not there, or where a value has been replaced since; then
    all data that it still has a name for is taken along.
    """
    notes: list[str] = []
    rest: dict[str, Any] = {}
    for frame in frames:
        try:
            cut = cuts_of(frame)[-1]
        except NotReplayable as error:
            notes.append(str(error))
            rest = {**_data(frame), **rest}
            continue
        return Batch(
            values={**rest, **_taken(frame, cut)},
            statements=_statements(frame, cut),
            note="; ".join(notes),
        )
    return Batch(values=rest, note="; ".join(notes) or "no frame of the script leads here")


def _taken(frame: FrameType, cut: Slice) -> dict[str, Any]:
    """Return the values that a slice starts from, modules and functions too: they have names."""
    space = {**frame.f_globals, **frame.f_locals}
    values = {name: space[name] for name in sorted(cut.taken) if name in space}
    for name in sorted({name for statement in cut.body for name in effect(statement).reads}):
        root, *path = name.split(".")
        if not path or root not in cut.taken:
            continue
        value = space.get(root)
        for attribute in path:  # not by getattr: a property may do anything
            value = getattr(value, "__dict__", {}).get(attribute)
        if value is not None and not callable(value):
            values[name] = value
    return values


def _statements(frame: FrameType, cut: Slice) -> tuple[tuple[str, int, str], ...]:
    file = frame.f_code.co_filename
    lines = linecache.getlines(file, frame.f_globals)
    return tuple(
        (file, each.lineno, _text(lines[each.lineno - 1 : each.end_lineno])) for each in cut.body
    )


def _text(lines: Sequence[str]) -> str:
    return dedent("".join(lines)).strip()[:_MOST_CHARACTERS]


def _data(frame: FrameType) -> dict[str, Any]:
    """Return all that a frame has names for and that is data: no graph, no module, no weights."""
    used = {*frame.f_code.co_names, *frame.f_code.co_varnames, *frame.f_code.co_cellvars}
    return {
        name: value
        for name, value in list(frame.f_locals.items())
        if name in used and any(True for _ in tensors_in(value, depth=2)) and _is_data(value)
    }


def _is_data(value: Any) -> bool:
    if isinstance(value, nn.Module):
        return False
    tensors: Iterator[Tensor] = tensors_in(value, depth=2)
    return all(t.grad_fn is None and not isinstance(t, nn.Parameter) for t in tensors)
