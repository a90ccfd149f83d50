"""The short way through the door, for steps of which only the loss and the time are noted.

Between two pulses nothing is wanted of a step but its loss. The whole way takes a tenth of a
millisecond where a training runs in between, as its code and data are no longer in the caches;
that is a tenth of a step of one millisecond. The lane does the least that there is, and gives way
to the whole way at anything out of the ordinary: a second backward pass, another optimiser or
thread, a closure, a torch mode, a loss that is no number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import get_ident
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from headwater.watch.aside import never_compile
from headwater.watch.reach import is_captured
from headwater.watch.statistics import Scalar, has_bad_gradient, read_scalar

_dispatch_modes = torch._C._len_torch_dispatch_stack
_function_modes = torch._C._len_torch_function_stack

_SHORT_STEP_S, _COLD_PART, _COLD_S = 1.5e-5, 0.004, 6.5e-5


def step_cost_s(plain_s: float) -> float:
    """Return what a step in the lane is charged: its clock would cost as much again.

    The longer a step, the less of our code and of a gradient is left in the caches.
    `benchmarks/lane.py` measures it: 11 us on steps of 1 ms, 79 us on steps of 15 ms.

    Args:
        plain_s: What a step takes, in seconds.

    Example:
        >>> [round(1e6 * step_cost_s(step_s)) for step_s in (0.001, 0.016, 0.2)]
        [19, 79, 80]
    """
    return _SHORT_STEP_S + min(_COLD_PART * plain_s, _COLD_S)


class Lane:
    """Steps of one optimiser on one thread, each with one backward pass from one loss.

    Attributes:
        losses: One a backward pass.
        ends: The clock at the end of each step.
        inside: Whether the optimiser is stepping now.
    """

    __slots__ = (
        *("_optimiser", "_sentinel", "_steps", "_thread", "_until"),
        *("ends", "inside", "losses"),
    )

    def __init__(
        self,
        optimiser: Optimizer,
        *,
        steps: int,
        until: float,
        sentinel: Callable[[], Tensor | None] | None,
    ) -> None:
        """Open for at most so many steps, and until the clock says so.

        Without a ``sentinel``, the parameter whose gradient tells of all, no gradient is looked at.
        """
        self.losses: list[Scalar] = []
        self.ends: list[float] = []
        self.inside = False
        self._optimiser = id(optimiser)
        self._steps = steps
        self._thread = get_ident()
        self._until = until
        self._sentinel = sentinel

    @property
    def halfway(self) -> bool:
        """Whether the step that is under way has had its backward pass."""
        return len(self.losses) > len(self.ends)

    def backward(self, roots: Sequence[Any], kwargs: Any) -> bool:
        """Note the loss of a backward pass that begins; say whether it may pass.

        A pass within another, or within a step, finds the step halfway.
        """
        root = roots[0]
        if (
            type(root) is not Tensor
            or len(roots) != 1
            or root.numel() != 1
            or len(self.losses) != len(self.ends)
            or not kwargs.get("accumulate_grad")
            or get_ident() != self._thread
            or _dispatch_modes()
            or _function_modes()
            or (not root.is_cpu and not _is_ready(root))
        ):
            return False
        try:
            loss = read_scalar(root)
        except Exception:  # as of a tensor that stands for several: the whole way knows
            return False
        if type(loss) is float and loss - loss != 0:  # on a device the question would wait for it
            return False
        self.losses.append(loss)
        return True

    def gradient_is_bad(self) -> bool:
        """Whether the pass that is over has left a gradient that is not finite."""
        return self._sentinel is not None and has_bad_gradient(self._sentinel())

    def step_begins(self, optimiser: Optimizer, alone: bool) -> bool:
        """Note that an optimiser steps, ``alone`` if without a closure; say whether it may pass."""
        may = alone and not self.inside and id(optimiser) == self._optimiser and self.halfway
        self.inside = self.inside or may
        return may

    def step_ends(self, optimiser: Optimizer) -> bool:
        """Note that it has stepped; say whether the lane is open for another step."""
        if not self.inside or id(optimiser) != self._optimiser:
            return False
        self.inside = False
        now = perf_counter()
        self.ends.append(now)
        return len(self.ends) < self._steps and now < self._until


def _is_ready(root: Tensor) -> bool:
    """Whether reading a loss on a device would not become a part of a captured graph."""
    return root.is_cuda and not is_captured()


never_compile(has_bad_gradient)
for _method in (Lane.backward, Lane.gradient_is_bad, Lane.step_begins, Lane.step_ends, _is_ready):
    never_compile(_method)
