"""The switches of the process that a sampled step needs, and their return to where they were."""

from __future__ import annotations

from typing import Any

import torch

from headwater.watch.stacks import STACKS


class Tracing:
    """One observation's hold on tracing, and on the compiler where regions are to be opened."""

    def __init__(self, *, eager: bool) -> None:
        self.on = False
        self._eager = eager
        self._stance: Any = None

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

    def pause(self) -> None:
        """Let a backward pass run plain: one that fails must not print what we kept."""
        if self.on:
            STACKS.quiet()

    def resume(self) -> None:
        """Go on after the backward pass."""
        if self.on:
            STACKS.resume()

    @staticmethod
    def take_seconds() -> float:
        """Return the time spent on answering since last asked."""
        seconds, STACKS.seconds = STACKS.seconds, 0.0
        return seconds
