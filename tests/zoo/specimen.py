"""What the zoo holds: a network, the data it is trained on, and how its loss is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

Batch = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Specimen:
    """One architecture, small enough to be trained for 20 steps in about a second.

    ``build`` and ``data`` draw from torch's global random state; ``data`` returns tensors whose
    first dimension counts examples.
    """

    name: str
    build: Callable[[], nn.Module]
    data: Callable[[], Batch]
    loss: Callable[[nn.Module, Batch], Tensor]
    batch: int = 4
    settings: Mapping[str, Any]
    """Of AdamW, or of SGD where ``momentum`` is among them."""
