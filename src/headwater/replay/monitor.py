"""Watching every operation of a forward and a backward pass for the first number that is none.

An operation with finite inputs and an output that is not finite *bears* the fault; later ones hand
it on. Not every birth is a fault: a mask is filled with minus infinity on purpose, a running
minimum starts at infinity, an unused branch of ``torch.where`` may be anything. So each tensor that
is not finite carries the events it descends from, and the producer is the earliest event from which
what went wrong, the loss or a gradient, descends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from headwater.records import Figures
from headwater.replay.figures import figures, has_nan, is_finite

Locate = Callable[[Any], Any]
"""Says where an operation stands, from the autograd node that runs, None in a forward pass."""

_State = tuple[frozenset[int], bool, bool]
"""Of a tensor: the events it descends from, whether it is finite, whether it has a NaN."""

_DELIBERATE = frozenset(
    {"full", "full_like", "new_full", "fill", "masked_fill", "scalar_tensor", "zeros", "lift_fresh",
     "constant_pad_nd", "where", "clone", "masked_scatter", "index_fill", "scatter", "index_put",
     "select_scatter", "slice_scatter"}
)  # fmt: skip
"""Operations that put a constant in place: an infinity of theirs was asked for."""

_UNWRITTEN = frozenset(
    {"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "resize"}
)
"""What they return is memory nobody has written yet."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Event:
    """Where numbers that are not finite came up: born of finite ones, or met from outside.

    ``operation`` is torch's name of what ran, ``node`` that of the autograd node it ran for ("" in
    a forward pass). ``makes_nan`` tells an operation that made NaN out of infinities, ``outside``
    one that was handed them: then ``tensor`` is what it was handed.
    """

    number: int
    operation: str
    node: str
    place: Any
    inputs: tuple[Figures, ...]
    scalars: tuple[float, ...]
    parents: frozenset[int] = frozenset()
    deliberate: bool = False
    makes_nan: bool = False
    outside: bool = False
    tensor: Tensor | None = None


@dataclass(slots=True)
class _Known:
    """What is known of a storage: the events its bad numbers descend from."""

    events: frozenset[int]
    alive: Tensor  # so that nothing else gets its address while it is remembered


class Monitor(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs every operation that passes, and remembers where what is not finite comes from.

    Use it as a context manager around a forward and a backward pass, then ask :meth:`producer`.

    Args:
        locate: Called where an event happens, with the autograd node that runs (None in a forward
            pass); what it returns is the event's ``place``.

    Example:
        >>> x = torch.tensor([1.0, 0.0], requires_grad=True)
        >>> with Monitor() as monitor:
        ...     loss = (torch.log(x) + 1).sum()
        >>> event = monitor.producer([loss])
        >>> event.operation, event.inputs[0].zeros
        ('log', 1)
        >>> with Monitor() as monitor:
        ...     torch.sqrt(x).sum().backward()
        >>> event = monitor.producer([x.grad])
        >>> event.operation, event.node
        ('div', 'SqrtBackward0')
    """

    def __init__(self, locate: Locate = lambda _node: None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.events: list[Event] = []
        self._locate = locate
        self._known: dict[int, _Known] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keep torch from hiding what follows from its compiler.

        That would load the compiler at the first operation, for a second and a half; where it is
        loaded, whoever uses the monitor has it run eagerly.
        """
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one operation; look at what it returns."""
        words = kwargs or {}
        schema = func._schema
        name = schema.name.rpartition("::")[2]
        taken = list(_tensors((args, words)))
        before = [self._state(each) for each in taken] if schema.is_mutable else None
        made = func(*args, **words)
        base = name.strip("_")
        if base in _UNWRITTEN:
            return made
        outputs = list(_tensors(made))
        if schema.is_mutable:
            outputs += [each for each in taken if all(each is not other for other in outputs)]
        bad = [each for each in outputs if not self._passes(func, each)]
        if bad:
            about = _About(base, func, args, words, taken)
            self._note(about, before or [self._state(each) for each in taken], bad)
        return made

    def producer(self, faulty: Iterable[Tensor]) -> Event | None:
        """Return the earliest event that tensors which are not finite descend from, None if none.

        What was put in place on purpose counts only where nothing else is found.
        """
        wanted: set[int] = set()
        for tensor in faulty:
            known = self._known.get(_key(tensor))
            wanted |= known.events if known is not None else set()
        waiting, met = list(wanted), set(wanted)
        while waiting:
            for parent in self.events[waiting.pop()].parents - met:
                met.add(parent)
                waiting.append(parent)
        found = [self.events[number] for number in sorted(met)]
        asked_for = {event.number for event in found if event.deliberate}
        real = [event for event in found if not event.deliberate and not self._only_hands_on(event)]
        if real:
            return real[0]
        return self.events[min(asked_for)] if asked_for else None

    def _only_hands_on(self, event: Event) -> bool:
        """Whether an operation made NaN of infinities that were a fault themselves."""
        return event.makes_nan and any(not self._asked_for(each) for each in event.parents)

    def _asked_for(self, number: int) -> bool:
        return self.events[number].deliberate

    def _passes(self, func: Any, tensor: Tensor) -> bool:
        """Whether an output is finite; a view of what is known is as that."""
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            return True
        key = _key(tensor)
        if is_finite(tensor):
            if not getattr(func, "is_view", False):
                self._known.pop(key, None)
            return True
        return bool(getattr(func, "is_view", False)) and key in self._known

    def _state(self, tensor: Tensor) -> _State:
        """Return what a tensor descends from, whether it is finite, and whether it has a NaN."""
        known = self._known.get(_key(tensor))
        fine = is_finite(tensor)
        events = known.events if known is not None and not fine else frozenset[int]()
        return events, fine, False if fine else has_nan(tensor)

    def _note(self, about: _About, states: Sequence[_State], bad: Sequence[Tensor]) -> None:
        """Note outputs that are not finite; ``states`` are those of the inputs before."""
        parents: set[int] = set()
        for tensor, (events, fine, _) in zip(about.taken, states, strict=True):
            if not fine:
                parents |= events or {self._outside(about, tensor)}
        all_fine = all(fine for _, fine, _ in states)
        nan_before = any(nan for _, _, nan in states)
        new_nan = not all_fine and not nan_before and any(has_nan(each) for each in bad)
        if all_fine or new_nan:
            asked_for = all_fine and about.name in _DELIBERATE and not any(has_nan(b) for b in bad)
            event = self._event(
                about, parents=frozenset(parents), makes_nan=new_nan, deliberate=asked_for
            )
            parents = {event.number}
        for tensor in bad:
            self._known[_key(tensor)] = _Known(frozenset(parents), tensor.detach())

    def _outside(self, about: _About, tensor: Tensor) -> int:
        """Note a tensor that was not finite before anybody looked."""
        deliberate = not has_nan(tensor) and not tensor.requires_grad and _is_constant(tensor)
        event = self._event(about, outside=True, deliberate=deliberate, tensor=tensor)
        self._known[_key(tensor)] = _Known(frozenset({event.number}), tensor.detach())
        return event.number

    def _event(self, about: _About, **what: Any) -> Event:
        node = torch._C._current_autograd_node()
        event = Event(
            number=len(self.events),
            operation=about.name,
            node=node.name() if node is not None else "",
            place=self._locate(node),
            inputs=about.figures(),
            scalars=about.scalars(),
            **what,
        )
        self.events.append(event)
        return event


@dataclass(frozen=True, slots=True)
class _About:
    """An operation and what it was given."""

    name: str
    func: Any
    args: tuple[Any, ...]
    words: Mapping[str, Any]
    taken: list[Tensor] = field(default_factory=list)

    def figures(self) -> tuple[Figures, ...]:
        names = [argument.name for argument in self.func._schema.arguments]
        given = [*zip(names, self.args, strict=False), *self.words.items()]
        return tuple(figures(tensor, name) for name, value in given for tensor in _tensors(value))[
            :_MOST_INPUTS
        ]

    def scalars(self) -> tuple[float, ...]:
        values = [*self.args, *self.words.values()]
        return tuple(float(v) for v in values if isinstance(v, float | int) and v is not True)


_MOST_INPUTS = 8


def _tensors(value: Any) -> Iterable[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors(each)


def _is_constant(tensor: Tensor) -> bool:
    """Whether a tensor looks like a mask or a bound: infinities among zeros, or nothing else."""
    finite = tensor[torch.isfinite(tensor)]
    return finite.numel() == 0 or bool((finite == 0).all().item())


def _key(tensor: Tensor) -> int:
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):  # sparse and such have none
        return id(tensor)
