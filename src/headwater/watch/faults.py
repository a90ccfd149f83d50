"""Noticing that numbers are not finite any more, and asking which operation made them so.

On the CPU the loss is at hand as a backward pass begins, and the gradients as it ends, before the
optimiser steps: then the state that made the fault is still there, and a copy of the process runs
the step again. On a device they are read late, as reading at once would wait for it; then the step
is known, and ``headwater run --rewind`` finds the operation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from math import isfinite
from typing import Any, Literal

import torch
from torch import Tensor

from headwater.records import Fault, Figures, Phase, Where
from headwater.replay.child import in_child, why_not_forked
from headwater.replay.figures import is_finite
from headwater.replay.reasons import Happening, forward_of, plain_name, reason
from headwater.watch.cuts import frames_here
from headwater.watch.door import Call
from headwater.watch.names import Names
from headwater.watch.rerun import Attempt, RandomState, run_again
from headwater.watch.statistics import has_bad_gradient

_LONGEST_S, _STEPS = 10.0, 20
"""A replay is given up after so many plain steps, but not before ten seconds."""

_MOST = 2
"""Replays a run: the first fault, and one more if that was not told for certain."""

_SHORT_S = 0.007
"""On steps as short Python's random state is not kept: it would take a thousandth of them."""

_TIGHT_S = 0.002
"""On steps as short as this one look at a gradient takes half a hundredth of them: too much where
only an overflow could have spoilt it, and the loss of the next step tells of that."""

_CERTAIN, _LIKELY, _DOUBTFUL = 0.95, 0.8, 0.4
"""Confidence: the same graph, loss and bad gradients again; the same fault with other random
numbers; a fault of which only a part could be seen."""

_REWIND = "headwater run --rewind looks at the step live"

Seen = Literal["loss", "gradient", "weight"]


class Faults:
    """Looks for the producer of the first number that is none; keeps what it found."""

    every_step = False
    """Whether each step must be heard of: then none goes by the lane."""

    def __init__(self, names: Names) -> None:
        self.found: list[Fault] = []
        self.replay_s = 0.0
        self._names = names
        # What a step takes, a median that is not for nothing; whether the graphs are tame.
        self.plain_s: Callable[[], float] = lambda: 0.0
        self.tame: Callable[[], bool] = lambda: False
        self._long_steps = False
        self._largest = self._far = 0.0
        self._random: RandomState | None = None
        self._sentinel: Callable[[], Tensor | None] = lambda: None
        self._replays = 0

    @property
    def settled(self) -> bool:
        """Whether there is nothing more to look for."""
        certain = any(fault.confidence >= _LIKELY for fault in self.found)
        return certain or self._replays >= _MOST

    def step_begins(self, _number: int) -> None:
        """Keep the random state of a step's beginning."""
        if not self.settled:
            self._random = RandomState.now(also_pythons=self._long_steps)

    def forget_random_state(self) -> None:
        """Know no more how the step began."""
        self._random = None

    def choose_sentinel(self, lowest: Sequence[int]) -> None:
        """Choose the parameter whose gradient tells of the others, among the ``lowest`` ones.

        A backward pass reaches last what the forward pass used first: what is not finite above it
        is not finite there. Of a layer's parameters the bias is the least to look at.
        """
        self._long_steps = self.plain_s() > _SHORT_S
        known = dict(self._names.with_gradients())
        if known:
            among = [index for index in lowest if index in known] or [*known][:2]
            index = min(among, key=lambda one: known[one].numel())
            self._sentinel = self._names.parameters[index].tensor
            self._far = min(torch.finfo(tensor.dtype).max for tensor in known.values()) ** 0.5

    def sentinel(self) -> Callable[[], Tensor | None] | None:
        """Return that parameter, weakly, if its gradient is to be looked at step by step."""
        return None if self.settled or self._needless() else self._sentinel

    def _needless(self) -> bool:
        """Whether a look would cost more than it could tell.

        Gradients that were last seen halfway to the end of their range, in decades, may overflow.
        """
        return self.plain_s() < _TIGHT_S and self._largest < self._far and self.tame()

    def loss_stands(self, call: Call, step: int, loss: Any) -> None:
        """Hear of a loss as its backward pass begins."""
        if isinstance(loss, float) and not isfinite(loss) and not self.settled:
            self._look(call, step, "loss", frozenset())

    def gradients_stand(
        self, call: Call, step: int, norms: Iterable[tuple[int, Any]] | None
    ) -> None:
        """Hear that a backward pass is over; ``norms`` are the gradients' where they were taken."""
        if self.settled:
            return
        if norms is None:
            if not has_bad_gradient(self._sentinel()):
                return
            bad = self._bad_gradients()
        else:
            sizes = [(index, norm) for index, norm in norms if isinstance(norm, float)]
            self._largest = max((norm for _, norm in sizes), default=0.0)
            bad = frozenset(index for index, norm in sizes if _odd(norm))
        if bad:
            self._look(call, step, "gradient", bad)

    def results_stand(self, call: Call, step: int, results: Iterable[Tensor | None]) -> None:
        """Hear which gradients a loop asked for that takes its steps by hand."""
        first = next((each for each in results if each is not None), None)
        if not self.settled and first is not None and first.is_cpu and not is_finite(first):
            self._look(call, step, "gradient", frozenset())

    def _shared(self) -> str:
        known = [parameter.tensor() for parameter in self._names.parameters]
        shared = any(t is not None and t.is_shared() for t in known)  # type: ignore[no-untyped-call]
        return "the parameters are in memory that processes share" if shared else ""

    def _bad_gradients(self) -> frozenset[int]:
        known = self._names.with_gradients()
        return frozenset(
            index
            for index, tensor in known
            if tensor.grad is not None and _odd(float(tensor.grad.double().sum().item()))
        )

    def _look(self, call: Call, step: int, seen_in: Seen, bad: frozenset[int]) -> None:
        began, plain_s = time.perf_counter(), self.plain_s()
        infos = self._names.parameter_infos()
        fault = Fault(
            step=step,
            seen_in=seen_in,
            parameters=tuple(infos[index].name for index in sorted(bad)),
            plain_step_ms=1e3 * plain_s if plain_s else None,
        )
        why_not = why_not_forked() or self._shared()
        if why_not or not all(root.is_cpu for root in call.roots) or not call.roots:
            note = f"{why_not or 'the loss is not on the CPU'}; {_REWIND}"
            self.found.append(replace(fault, note=note))
            self._replays = _MOST
            return
        self._replays += 1
        attempt = Attempt(
            call=call,
            names=self._names,
            in_gradient=seen_in == "gradient",
            bad=bad,
            random_state=self._random,
            frames=frames_here(),
        )
        try:
            answer = in_child(lambda: run_again(attempt), limit_s=max(_LONGEST_S, _STEPS * plain_s))
        except (RuntimeError, OSError) as error:
            answer = {"event": None, "reproduced": False, "note": str(error)}
        self.replay_s += time.perf_counter() - began
        told = tell(fault, answer)
        self.found.append(replace(told, replay_ms=1e3 * (time.perf_counter() - began)))


_TAKES_MASKS = frozenset({"add", "baddbmm", "scaled_dot_product_attention"})
"""What a buffer of infinities is added by where it is a mask, whatever else it holds."""


def tell(fault: Fault, answer: dict[str, Any]) -> Fault:
    """Return a fault with what running the step again has shown."""
    event = answer["event"]
    if event is None or not answer["reproduced"]:
        why = answer["note"] or "running the step again did not show the fault"
        return replace(fault, reproduced=False, confidence=0.0, note=f"{why}; {_REWIND}")
    inputs = tuple(_figures(each) for each in event["inputs"])
    place = event["place"]
    # A backward that the user wrote is no operation's: what is in it has a name of its own.
    of_torch = event["node"] and not place["by_hand"]
    forward = plain_name(forward_of(event["node"]) if of_torch else event["operation"])
    phase: Phase = "backward" if event["node"] else "forward"
    happening = Happening(
        operation=plain_name(event["operation"]),
        forward=forward,
        phase=phase,
        inputs=inputs,
        scalars=tuple(event["scalars"]),
        makes_nan=event["makes_nan"],
    )
    why = reason(happening)
    told = replace(
        fault,
        phase=phase,
        operation=forward,
        cause=why.cause,
        reason=why.words,
        where=Where(module=place["module"], file=place["file"], line=place["line"]),
        inputs=inputs,
        reproduced=True,
        confidence=_CERTAIN if answer["exact"] else _LIKELY,
        note="" if answer["exact"] else "run again with other random numbers, it broke alike",
    )
    if event["outside"]:
        tensor = _figures(event["tensor"])
        added = happening.operation in _TAKES_MASKS and not tensor.nans
        asked_for = bool(event["deliberate"]) or added
        return _handed(told, tensor, answer["handed"], asked_for=asked_for)
    if event["deliberate"]:
        return replace(told, confidence=_DOUBTFUL, note="the infinity looks as if it was asked for")
    return told


def _handed(told: Fault, tensor: Figures, what: str, *, asked_for: bool) -> Fault:
    """Return a fault of numbers that were there before the step's own operations.

    ``asked_for`` tells infinities that look like a mask.
    """
    sort, _, name = what.partition(" ")
    if sort == "made":
        why = f"{name} was made in the step, of values that are there no more"
        return replace(told, phase=None, operation="", cause="", reason="", confidence=0.0,
                       inputs=(tensor,), note=f"{why}; {_REWIND}")  # fmt: skip
    if sort in ("parameter", "leaf"):
        named = name or "a leaf tensor"
        return replace(
            told,
            phase="update",
            operation="",
            cause="bad-update",
            reason=f"{named} was not finite when the step began "
            f"({_bad(tensor)} of {tensor.elements:,} entries): the update before made it so",
            parameters=(name,) if name else (),
            inputs=(tensor,),
        )
    if sort == "buffer":
        return replace(
            told, phase="data", operation="", cause="bad-buffer", inputs=(tensor,),
            confidence=_DOUBTFUL if asked_for else told.confidence,
            reason=f"the buffer {name} was not finite when the step began "
            f"({_bad(tensor)} of {tensor.elements:,} entries)",
        )  # fmt: skip
    if not tensor.shape:
        return replace(
            told, phase="data", cause="bad-input", inputs=(tensor,),
            reason="a number that is not finite was put in here as it stands",
        )  # fmt: skip
    where = f", the first at {list(tensor.first_bad)}" if tensor.first_bad is not None else ""
    return replace(
        told,
        phase="data",
        operation="",
        cause="bad-input",
        reason=f"{f'`{name}`' if name else 'data'} of shape {list(tensor.shape)} came with "
        f"{_entries(_bad(tensor))} not finite{where}",
        inputs=(tensor,),
    )


def _entries(number: int) -> str:
    return "1 entry that is" if number == 1 else f"{number:,} entries that are"


def _bad(tensor: Figures) -> int:
    return tensor.nans + tensor.infinities


def _figures(data: dict[str, Any]) -> Figures:
    first = data["first_bad"]
    return Figures(
        **{
            **data,
            "shape": tuple(data["shape"]),
            "first_bad": None if first is None else tuple(first),
        }
    )


def _odd(number: float) -> bool:
    return number - number != 0
