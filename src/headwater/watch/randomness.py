"""The random states of a process: torch's on every device, Python's, and numpy's where in use."""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from typing import Any

import torch


def random_states() -> dict[str, Any]:
    """Return the states as they are, by the name of their generator; none is changed."""
    states: dict[str, Any] = {"torch": torch.get_rng_state(), "python": random.getstate()}
    numpy = sys.modules.get("numpy.random")
    if numpy is not None and isinstance(state := numpy.get_state(), tuple):
        states["numpy"] = state  # the usual generator's: another one, set by the script, has a dict
    if uses_cuda():
        count = torch.cuda.device_count()
        states |= {f"cuda:{n}": torch.cuda.get_rng_state(n) for n in range(count)}
    return states


def packable(states: Mapping[str, Any]) -> dict[str, Any]:
    """Return states as values of which the long ones are tensors."""
    packed = dict(states)
    version, words, gauss = packed["python"]
    packed["python"] = (version, torch.tensor(words), gauss)
    if "numpy" in packed:
        name, keys, *rest = packed["numpy"]
        packed["numpy"] = (name, keys.astype("int64"), *rest)
    return packed


def restore(packed: Mapping[str, Any]) -> None:
    """Set the generators to states that were made packable; devices that are not here are left.

    Example:
        >>> kept = packable(random_states())
        >>> first = random.random(), torch.rand(1)
        >>> restore(kept)
        >>> (random.random(), torch.rand(1)) == first
        True
    """
    for name, state in packed.items():
        if name == "torch":
            torch.set_rng_state(state)
        elif name == "python":
            version, words, gauss = state
            random.setstate((version, tuple(words.tolist()), gauss))
        elif name == "numpy":
            import numpy as np

            kind, keys, *rest = state
            np.random.set_state((kind, keys.astype("uint32"), *rest))
        elif (
            torch.cuda.is_available()
            and int(name.removeprefix("cuda:")) < torch.cuda.device_count()
        ):
            torch.cuda.set_rng_state(state, name)


def uses_cuda() -> bool:
    """Whether the process has set up CUDA."""
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]
