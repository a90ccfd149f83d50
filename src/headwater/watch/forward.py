"""Statistics of what a forward pass makes, by the node that made it.

For passes that are taken for our own sake: a function mode is not neutral in a user's training
(it turns fast paths off), and nothing here runs there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True, slots=True)
class Output:
    """One tensor that a node made: over all its entries, and its shape.

    ``shared`` is the mean square of each entry's mean over samples (axis 0): what all share.
    """

    mean: float
    mean_square: float
    shared: float
    shape: tuple[int, ...]


class Forward(TorchFunctionMode):
    """Notes the statistics of every tensor with a graph that a call returns.

    Example:
        >>> weight = torch.eye(2, requires_grad=True)
        >>> with Forward() as forward:
        ...     y = torch.tensor([[1.0, -3.0]]) @ weight
        >>> forward.outputs()[y.grad_fn].mean_square
        5.0
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[Any, Output] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:  # the base class has the same types
        """Call, and look at what comes back."""
        result = func(*args, **(kwargs or {}))
        with torch._C.DisableTorchFunction():
            for tensor in result if isinstance(result, tuple | list) else (result,):
                self._note(tensor)
        return result

    def outputs(self) -> Mapping[Any, Output]:
        """Return the statistics by node."""
        return self._seen

    def _note(self, tensor: Any) -> None:
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            return
        node = tensor.grad_fn
        if node is None or node in self._seen or tensor.numel() == 0:
            return
        values = tensor.detach().double()
        middle = values.mean(dim=0) if values.dim() else values
        self._seen[node] = Output(
            mean=float(values.mean()),
            mean_square=float(values.square().mean()),
            shared=float(middle.square().mean()),
            shape=tuple(tensor.shape),
        )
