"""Weights scaled while the signal passes: each layer's outputs get one mean square, in one pass."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_PRODUCTS = frozenset(
    """
    linear conv1d conv2d conv3d matmul mm addmm __matmul__ __rmatmul__
    """.split()
)


class Levelling(TorchFunctionMode):
    """While open, scales each weight at its first use so that its outputs get a mean square.

    As the scaled output is what goes on, the next layer sees it: one pass levels any depth, from
    a start at which the signal vanishes or overflows, too. What has no signal is left alone.

    Source:
        Mishkin and Matas (2016), All you need is a good init, arXiv:1511.06422.

    Example:
        >>> weight = torch.eye(2)
        >>> with Levelling({"w": weight}, 1.0):
        ...     y = torch.nn.functional.linear(torch.tensor([[3.0, 4.0]]), weight)
        >>> round(float(y.square().mean()), 4), round(float(weight[0, 0]), 4)
        (1.0, 0.2828)
    """

    def __init__(self, weights: Mapping[str, Tensor], square: float) -> None:
        super().__init__()
        self._waiting = {id(weight): weight for weight in weights.values()}
        self._square = square

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:  # the base class has the same types
        """Call; if a weight was used for the first time, scale it and call again."""
        named = kwargs or {}
        result = func(*args, **named)
        if getattr(func, "__name__", "") not in _PRODUCTS:
            return result
        with torch._C.DisableTorchFunction():
            met = (self._waiting.pop(id(each), None) for each in (*args, *named.values()))
            weight = next((each for each in met if each is not None), None)
            if weight is None or not isinstance(result, Tensor):
                return result
            if not self._scaled(weight, result):
                return result
        return func(*args, **named)

    def _scaled(self, weight: Tensor, result: Tensor) -> bool:
        square = float(result.detach().double().square().mean())
        if not 0 < square < math.inf:
            return False
        with torch.no_grad():
            weight.mul_(math.sqrt(self._square / square))
        return True
