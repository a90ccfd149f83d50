"""The switches of the process that a sampled step needs, and their return to where they were."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any

import torch

from headwater.watch.anomaly import ANOMALY
from headwater.watch.stacks import STACKS


class Tracing:
    """One observation's hold on tracing, and on the compiler where regions are to be opened."""

    def __init__(self, *, eager: bool, fault: Callable[[Exception], None]) -> None:
        self.on = False
        self._fault = fault
        self._eager = eager
        self._stance: Any = None
        self._was_on: list[bool] = []

    def set(self, on: bool) -> None:
        """Trace the nodes made from now on, or no more."""
        if on and not self.on:
            STACKS.start(self._fault)
            if self._eager:
                self._stance = torch.compiler.set_stance("force_eager")
        elif self.on and not on:
            STACKS.stop(self._fault)
            if self._stance is not None:
                self._stance.__exit__(None, None, None)
                self._stance = None
        self.on = on

    def pause(self, *, creates_graph: bool) -> None:
        """Let a backward pass run plain: one that fails must not print what we kept."""
        self._was_on.append(ANOMALY.on)
        if self.on and not creates_graph:
            ANOMALY.put(on=False)

    def resume(self) -> None:
        """Go on as before the backward pass."""
        was_on = self._was_on.pop() if self._was_on else True
        if was_on and self.on:
            ANOMALY.put(on=True)

    def recover(self) -> None:
        """Trace on after a backward pass whose end was not heard."""
        self._was_on.clear()
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
