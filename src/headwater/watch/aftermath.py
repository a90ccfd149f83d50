"""What the user asked for where a step breaks: its state is kept, or the training ended.

Both want the very step, before its optimiser changes what broke it. So a loss and the gradients
are then read at every pass, which waits for a device where they are on one, and no step passes by
the lane.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from headwater.records import Fault
from headwater.watch.cuts import frames_here
from headwater.watch.faults import Faults
from headwater.watch.names import Names
from headwater.watch.options import Options
from headwater.watch.randomness import packable, random_states
from headwater.watch.reach import is_captured
from headwater.watch.statistics import Fetched, Scalar

_SKIPS = 10
"""A gradient scaler that skips more steps than this in a row searches no more: from its default
scale of 65,536 sixteen halvings reach 1, and one in service skips one step in 2,000."""

_TRIES = 3
"""A training that catches what ends it so often goes on."""


class Aftermath:
    """Follows the first fault: keeps the state once, and says when the training is to end."""

    def __init__(
        self,
        options: Options,
        names: Names,
        faults: Faults,
        *,
        folder: Path,
        note: Callable[[str], None],
    ) -> None:
        self._keeps = options.keep_state
        self._stops = options.stop_on is not None
        self._names = names
        self._faults = faults
        self._folder = folder
        self._note = note
        self._random: dict[str, Any] = {}
        self._skipped = 0
        self._why = ""
        self._endings = 0

    @property
    def watches(self) -> bool:
        """Whether every pass is to be looked at as soon as it is over."""
        return self._keeps or self._stops

    def step_begins(self) -> None:
        """Remember the random states that the step begins with."""
        if self._keeps and not self._why and not is_captured():
            self._random = random_states()

    def at_once(self, scalars: Sequence[Scalar]) -> list[float] | Sequence[Scalar]:
        """Return figures as numbers, waiting for a device, unless its work is being captured."""
        if not self.watches or all(isinstance(each, float) for each in scalars) or is_captured():
            return scalars
        return Fetched(scalars).values()

    def follow(self) -> None:
        """Act on the first fault, if there is one by now: keep what broke."""
        if self.watches and self._faults.found and not self._why:
            fault = self._faults.found[0]
            self._break(fault.step, _words(fault))

    def step_ends(self, step: int, *, skipped: bool) -> None:
        """Count the steps that a gradient scaler skips in a row."""
        self._skipped = self._skipped + 1 if skipped else 0
        if self._skipped > _SKIPS and self.watches and not self._why:
            self._break(
                step,
                f"step {step}: the GradScaler skipped {self._skipped} steps in a row, as no "
                "scale makes the gradient finite",
            )

    def ending(self) -> str:
        """Return why the training is to end now, "" if it is not."""
        if not self._stops or not self._why:
            return ""
        self._endings += 1
        if self._endings > _TRIES:
            self._note("the training caught what was to end it, and went on")
            self._stops = False
            return ""
        if self._endings == 1:
            self._note(f"the training was ended on request at {self._why}")
        return self._why

    def _break(self, step: int, why: str) -> None:
        self._why = why
        if not self._keeps:
            return
        try:
            self._keep(step, why)
        except OSError as error:
            text = " ".join(str(error.strerror or error).split())
            self._note(f"the state of step {step} could not be kept ({text})")
            print(f"headwater: the state could not be kept ({text})", file=sys.stderr)

    def _keep(self, step: int, why: str) -> None:
        # Here, as nothing of it is needed where nothing breaks.
        from headwater.watch.batch import batch_of
        from headwater.watch.kept import keep, pack_named
        from headwater.watch.packing import Packing

        batch = batch_of(frames_here())
        began = step > 0  # the first one began with the script, before it set its seed
        packing, left_out = Packing(), dict[str, str]()
        groups: Mapping[str, Mapping[str, Any]] = {
            "weights": self._names.tensors(),
            "buffers": self._names.buffers(),
            "batch": batch.values,
            "random": packable(self._random if began else random_states()),
        }
        packed = {name: pack_named(packing, name, each, left_out) for name, each in groups.items()}
        words = {
            "step": step,
            "why": why,
            "statements": batch.statements,
            "note": batch.note,
            "random_at": "begin" if began else "fault",
            "left_out": left_out,
        }
        keep(self._folder, {**words, **packed}, packing)


def _words(fault: Fault) -> str:
    """Return a fault as it is told where the training ends.

    Example:
        >>> from headwater.records import Where
        >>> _words(Fault(step=7, seen_in="loss"))
        'step 7: the loss is not finite'
        >>> _words(Fault(step=7, seen_in="gradient", parameters=("a", "b"), operation="sqrt",
        ...     cause="sqrt-at-zero", where=Where(file="/x/train.py", line=12), confidence=0.95))
        'step 7: the gradients of a and 1 more are not finite, by sqrt at train.py:12'
    """
    names = fault.parameters
    if fault.seen_in == "loss" or not names:
        what = f"the {fault.seen_in} is"
    elif len(names) == 1:
        what = f"the {fault.seen_in} of {names[0]} is"
    else:
        what = f"the {fault.seen_in}s of {names[0]} and {len(names) - 1} more are"
    told = f"step {fault.step}: {what} not finite"
    if fault.confidence > 0.5 and fault.operation and fault.where.file:
        told += f", by {fault.operation} at {Path(fault.where.file).name}:{fault.where.line}"
    return told
