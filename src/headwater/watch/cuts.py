"""The user's frames that lead to a backward pass, and which of their statements make its loss."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from headwater.replay.figures import is_finite
from headwater.replay.slices import NotReplayable, Slice, slice_of
from headwater.watch.stacks import STACKS

_MOST_LOOKED_AT = 1000  # entries of a container that is searched for graphs


def frames_here() -> tuple[FrameType, ...]:
    """Return the user's frames that lead here, the innermost first.

    Not ours: a frame that holds itself keeps all below it alive, with the batch and its workers.
    """
    frames: list[FrameType] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if STACKS.is_users(frame.f_code):
            frames.append(frame)
        frame = frame.f_back
    return tuple(frames)


def cuts_of(frame: FrameType) -> list[Slice]:
    """Return the statements of a frame that make its loss, in one or two ways.

    Data that is not finite is best made again, too, if it can be: then the operation shows that
    made it. The last way takes it as it is.

    Raises:
        NotReplayable: There is no way.
    """
    lines = linecache.getlines(frame.f_code.co_filename, frame.f_globals)
    if not lines:
        raise NotReplayable("the source is not there")
    space = _Space({**frame.f_globals, **frame.f_locals})
    cuts: list[Slice] = []
    for again in (space.suspicious, space.entangled):
        try:
            cut = slice_of(
                "".join(lines), frame.f_code.co_name, *_position(frame),
                again=again, known=space.known,
            )  # fmt: skip
        except NotReplayable as error:
            refusal = str(error)  # the error itself would keep the user's frames alive
            continue
        if not cuts or cut.taken != cuts[0].taken or cut.lines != cuts[0].lines:
            cuts.append(cut)
    if not cuts:
        raise NotReplayable(refusal)
    return cuts


def _position(frame: FrameType) -> tuple[int, int]:
    """Return the line and the column of what a frame is doing."""
    positions = list(frame.f_code.co_positions())
    at = frame.f_lasti // 2
    line, _, column, _ = positions[at] if at < len(positions) else (None, None, None, None)
    return line or frame.f_lineno or 0, -1 if column is None else column


@dataclass(frozen=True, slots=True)
class _Space:
    """The names of a frame and what they hold."""

    values: Mapping[str, Any]

    def known(self, name: str) -> bool:
        return name in self.values

    def entangled(self, name: str) -> bool:
        """Whether a name holds a part of a graph."""
        return any(tensor.grad_fn is not None for tensor in self._tensors(name))

    def suspicious(self, name: str) -> bool:
        """Whether it does, or holds data that is not finite."""
        return any(
            tensor.grad_fn is not None
            or (not isinstance(tensor, nn.Parameter) and not is_finite(tensor.detach()))
            for tensor in self._tensors(name)
        )

    def _tensors(self, name: str) -> Iterator[Tensor]:
        root, *rest = name.split(".")
        value = self.values.get(root)
        for attribute in rest:
            held = getattr(value, "__dict__", {})
            value = held.get(attribute) if isinstance(held, dict) else None
        yield from tensors_in(value, depth=3)


def tensors_in(value: Any, *, depth: int) -> Iterator[Tensor]:
    """Yield the tensors in a value: itself, a container's, or a small object's own."""
    if isinstance(value, Tensor):
        yield value
    elif depth == 0 or isinstance(value, nn.Module | torch.optim.Optimizer | type):
        return
    elif isinstance(value, list | tuple | set):
        for each in list(value)[:_MOST_LOOKED_AT]:
            yield from tensors_in(each, depth=depth - 1)
    elif isinstance(value, Mapping):
        for each in list(value.values())[:_MOST_LOOKED_AT]:
            yield from tensors_in(each, depth=depth - 1)
    elif type(value).__module__ != "builtins" and not callable(value):
        for each in getattr(value, "__dict__", {}).values():
            yield from tensors_in(each, depth=min(1, depth - 1))
