"""The switches of the process that a sampled step needs, and their return to where they were."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from typing import Any

import torch
from torch import Tensor

from headwater.watch.anomaly import ANOMALY
from headwater.watch.stacks import STACKS


class Tracing:
    """One observation's hold on tracing, and on the compiler where regions are to be opened."""

    def __init__(self, *, eager: bool, fault: Callable[[Exception], None]) -> None:
        self.on = False
        self._fault = fault
        self._eager = eager
        self._stance: Any = None
        self._paused: list[tuple[bool, list[str] | None]] = []

    def open(self) -> None:
        """Answer for the stacks that the script asks for; nothing is traced yet."""
        STACKS.open(self._fault)

    def close(self) -> None:
        """Trace no more, and leave what is asked of torch to torch."""
        self.set(False)
        STACKS.close(self._fault)

    def set(self, on: bool) -> None:
        """Trace the nodes made from now on, or no more."""
        if on and not self.on:
            STACKS.start()
            if self._eager:
                self._stance = torch.compiler.set_stance("force_eager")
        elif self.on and not on:
            STACKS.stop()
            if self._stance is not None:
                self._stance.__exit__(None, None, None)
                self._stance = None
        self.on = on

    def pause(self, *, creates_graph: bool) -> None:
        """Let a backward pass run plain: one that fails must not print what we kept."""
        self._paused.append((ANOMALY.on, STACKS.here() if self.on and creates_graph else None))
        if self.on:
            ANOMALY.put(on=False)

    def resume(self, made: Sequence[Tensor | None] = ()) -> None:
        """Go on as before the backward pass, and say of what it ``made`` that it was made there."""
        was_on, trace = self._paused.pop() if self._paused else (True, None)
        if trace is not None:
            STACKS.label(made, trace)
        if was_on and self.on:
            ANOMALY.put(on=True)

    @staticmethod
    def forget(roots: Sequence[Tensor]) -> None:
        """Take from a graph what we kept, where the user's own anomaly mode would print it."""
        STACKS.forget(roots)

    def recover(self) -> None:
        """Trace on after a backward pass whose end was not heard."""
        self._paused.clear()
        if self.on:
            ANOMALY.put(on=True)

    @staticmethod
    def modules() -> Set[int]:
        """Return ids of all modules that have made a node while traced, even one cut off since."""
        return STACKS.modules

    @staticmethod
    def take_seconds() -> float:
        """Return the time spent on answering since last asked."""
        seconds, STACKS.seconds = STACKS.seconds, 0.0
        return seconds
