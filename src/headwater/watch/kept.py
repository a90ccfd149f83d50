"""The state of a step that broke, kept in the run's folder, and read back to break it again.

``state/tensors.safetensors`` holds every tensor, ``state/state.json`` what they are; reading them
runs no code that is not ours.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

import headwater
from headwater.errors import MissingExtraError, NotRecordedError, UnreadableRunError
from headwater.runs.atomic import replace_json
from headwater.watch.names import plain_path
from headwater.watch.packing import Packed, Packing, Unpackable, unpack
from headwater.watch.randomness import restore

if TYPE_CHECKING:
    from headwater.runs.reader import Run

FOLDER = "state"
_TENSORS, _WORDS = "tensors.safetensors", "state.json"
_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class KeptState:
    """What a step that broke was made of.

    Attributes:
        step: Its number.
        why: What broke, in words.
        weights, buffers: By the names that the record has for them, as they were when it broke.
        batch: What the statements of the step began with, by the names the script has for it.
        statements: ``(file, line, text)`` of those that make the loss of it, in order; empty where
            no frame could tell.
        note: Why frames further in than that of the statements could not tell.
        left_out: Names whose values are no data (modules, functions), and why.
        random_at: ``begin`` if the random states are those that the step began with, else
            ``fault``: those at which it broke, when it had drawn its numbers.
    """

    step: int
    why: str
    weights: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]
    batch: Mapping[str, Any]
    statements: tuple[tuple[str, int, str], ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    random_at: str = "fault"
    _random: Mapping[str, Any] = field(default_factory=dict)

    def restore(self, model: nn.Module, prefix: str = "") -> None:
        """Put the weights and buffers into ``model``, in place.

        Args:
            model: A model built as the script builds it.
            prefix: What the record's names have before the model's own, where several models
                trained, as in ``generator``.

        Raises:
            NotRecordedError: The state lacks one of the model's tensors.
        """
        start = f"{prefix}." if prefix else ""
        with torch.no_grad():
            for kept, own in (
                (self.weights, model.named_parameters()),
                (self.buffers, model.named_buffers()),
            ):
                for name, tensor in own:
                    _put(kept, start + plain_path(name), tensor)

    def restore_random(self) -> None:
        """Set the generators of torch, Python and numpy to the states that were kept."""
        restore(self._random)


def load_state(run: Run | str | os.PathLike[str]) -> KeptState:
    """Return the state that ``--keep-state`` kept of a run; tensors are on the CPU.

    Raises:
        NotRecordedError: The run has kept none.
        UnreadableRunError: Its files cannot be understood.
        MissingExtraError: safetensors is not installed.
    """
    from headwater.runs.reader import Run  # here: a training that only writes has no use for it

    path = (run if isinstance(run, Run) else Run.open(run)).path
    folder = path / FOLDER
    if not (folder / _WORDS).is_file():
        raise NotRecordedError("state", "`headwater run --keep-state` keeps it where a step breaks")
    try:
        from safetensors.torch import load_file
    except ImportError:
        raise MissingExtraError("safetensors", "state", "a kept state") from None
    try:
        words = json.loads((folder / _WORDS).read_bytes())
        return _state(words, load_file(folder / _TENSORS))
    except Exception as error:  # safetensors has exceptions of its own
        why = f"its state is damaged: {type(error).__name__}: {error}"
        raise UnreadableRunError(str(path), why) from error


def keep(folder: Path, words: Mapping[str, Any], packing: Packing) -> None:
    """Write a state: tensors first, so that one with words is whole.

    Raises:
        OSError: The disk is full, or the folder cannot be written; nothing is left there.
    """
    from safetensors.torch import save_file

    target = folder / FOLDER
    target.mkdir(exist_ok=True)
    try:
        save_file(packing.tensors, target / _TENSORS)
        replace_json(
            target / _WORDS,
            {"format": _VERSION, "headwater": headwater.__version__, **words},
        )
        mode = (target / _WORDS).stat().st_mode  # safetensors lets nobody else read its files
        (target / _TENSORS).chmod(mode)
    except BaseException as error:
        (target / _TENSORS).unlink(missing_ok=True)
        target.rmdir()
        if isinstance(error, OSError) or not isinstance(error, Exception):
            raise
        raise OSError(str(error)) from error  # safetensors tells a full disk in a way of its own


def pack_named(
    packing: Packing, group: str, values: Mapping[str, Any], left_out: dict[str, str]
) -> dict[str, Packed]:
    """Pack a group of named values; note those that cannot be, and why."""
    packed = {}
    for name, value in values.items():
        before = len(packing.tensors)
        try:
            packed[name] = packing.pack(value, f"{group}/{name}")
        except Unpackable as error:
            left_out[name] = str(error)
            for extra in list(packing.tensors)[before:]:
                del packing.tensors[extra]
    return packed


def _state(words: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> KeptState:
    if words["format"] > _VERSION:
        raise ValueError(f"format {words['format']}; update headwater")
    groups: dict[str, dict[str, Any]] = {
        group: {name: unpack(data, tensors) for name, data in words[group].items()}
        for group in ("weights", "buffers", "batch", "random")
    }
    return KeptState(
        step=words["step"],
        why=words["why"],
        weights=groups["weights"],
        buffers=groups["buffers"],
        batch=groups["batch"],
        statements=tuple((file, line, text) for file, line, text in words["statements"]),
        left_out=words["left_out"],
        note=words["note"],
        random_at=words["random_at"],
        _random=groups["random"],
    )


def _put(kept: Mapping[str, Tensor], name: str, tensor: Tensor) -> None:
    value = kept.get(name)
    if value is None:
        raise NotRecordedError(f"tensor {name!r}", f"it has {', '.join(sorted(kept)) or 'none'}")
    if value.shape != tensor.shape:
        wanted = f"it has one of {list(value.shape)}"
        raise NotRecordedError(f"tensor {name!r} of shape {list(tensor.shape)}", wanted)
    tensor.copy_(value)
