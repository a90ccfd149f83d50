"""Dead and saturated units and the moments of pre-activations, from what the graph kept.

A unit is *dead* in a batch when its derivative is exactly zero for every entry; an entry is
*saturated* when its derivative is under 5 % of the largest the activation has. Functional calls
and modules leave the same nodes, so both are seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from headwater.watch.saved import rebuild, saved
from headwater.watch.statistics import Scalar, largest_magnitude, norm

SATURATED_BELOW = 0.05
"""Share of the activation's largest derivative under which an entry counts as saturated."""

_LEAST_UNITS, _LEAST_EXAMPLES, _MOST_EXAMPLES = 3, 8, 64
_ROUNDS, _TINY = 6, 1e-30
_RECENT = 3  # samples in a row that make a unit "recently dead"
_SQRT_HALF, _INVERSE_SQRT_2PI = math.sqrt(0.5), 1 / math.sqrt(2 * math.pi)


@dataclass(frozen=True, slots=True)
class Activation:
    """How to get a derivative from a node, and the largest it can be.

    ``derivative`` takes the node and the tensor it saved (``keeps``: its input ``self`` or its
    ``result``) and returns the derivative with respect to the pre-activation, entry by entry. One
    that is done in place keeps the result instead of the input: ``in_place`` goes by that.
    """

    keeps: str
    derivative: Callable[[Any, Tensor], Tensor]
    largest: Callable[[Any], Scalar]
    in_place: Callable[[Any, Tensor], Tensor] | None = None


def _one(_node: Any) -> float:
    return 1.0


def _is(value: float) -> Callable[[Any], float]:
    return lambda _node: value


def _leaky(node: Any, x: Tensor) -> Tensor:
    return torch.where(x > 0, torch.ones_like(x), torch.full_like(x, node._saved_negative_slope))


def _elu(node: Any, x: Tensor) -> Tensor:
    alpha, scale, inner = node._saved_alpha, node._saved_scale, node._saved_input_scale
    below = alpha * scale * inner * torch.exp(x * inner)
    return torch.where(x > 0, torch.full_like(x, scale), below)


def _elu_in_place(node: Any, y: Tensor) -> Tensor:
    alpha, scale, inner = node._saved_alpha, node._saved_scale, node._saved_input_scale
    return torch.where(y > 0, torch.full_like(y, scale), (y + alpha * scale) * inner)


def _celu(node: Any, x: Tensor) -> Tensor:
    return torch.exp(torch.clamp(x / node._saved_alpha, max=0))


def _celu_in_place(node: Any, y: Tensor) -> Tensor:
    return torch.where(y > 0, torch.ones_like(y), y / node._saved_alpha + 1)


def _gelu(node: Any, x: Tensor) -> Tensor:
    if node._saved_approximate == "tanh":
        slope = math.sqrt(2 / math.pi)
        t = torch.tanh(slope * (x + 0.044715 * x**3))
        return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * slope * (1 + 3 * 0.044715 * x * x)
    bell = _INVERSE_SQRT_2PI * torch.exp(-0.5 * x * x)
    return 0.5 * (1 + torch.erf(x * _SQRT_HALF)) + x * bell


def _silu(_node: Any, x: Tensor) -> Tensor:
    s = torch.sigmoid(x)
    return s * (1 + x * (1 - s))


def _mish(_node: Any, x: Tensor) -> Tensor:
    t = torch.tanh(torch.nn.functional.softplus(x))
    return t + x * torch.sigmoid(x) * (1 - t * t)


def _hardswish(_node: Any, x: Tensor) -> Tensor:
    inside = (2 * x + 3) / 6
    return torch.where(
        x <= -3, torch.zeros_like(x), torch.where(x >= 3, torch.ones_like(x), inside)
    )


def _between(low: float, high: float, value: float) -> Callable[[Any, Tensor], Tensor]:
    return lambda _node, x: ((x > low) & (x < high)).to(x.dtype) * value


def _prelu(node: Any, x: Tensor) -> Tensor:
    weight = saved(node, "weight")
    slope = weight if weight is not None else torch.zeros((), dtype=x.dtype, device=x.device)
    return torch.where(x > 0, torch.ones_like(x), slope.to(x.dtype).expand_as(x))


def _steepest_prelu(node: Any) -> Scalar:
    weight = saved(node, "weight")
    if weight is None or weight.numel() == 0:
        return 1.0
    steepest = weight.abs().amax().clamp(min=1)
    return float(steepest) if steepest.device.type == "cpu" else steepest


def _rrelu(node: Any, x: Tensor) -> Tensor:
    noise = saved(node, "noise")
    if node._saved_training and noise is not None and noise.shape == x.shape:
        return noise
    mean_slope = 0.5 * (float(node._saved_lower) + float(node._saved_upper))
    return torch.where(x > 0, torch.ones_like(x), torch.full_like(x, mean_slope))


def _steepest_elu(node: Any) -> float:
    alpha, scale = float(node._saved_alpha), float(node._saved_scale)
    return scale * max(1.0, alpha * float(node._saved_input_scale))


ACTIVATIONS: dict[str, Activation] = {
    "Relu": Activation("result", lambda _n, y: (y > 0).to(y.dtype), _one),
    "Tanh": Activation("result", lambda _n, y: 1 - y * y, _one),
    "Sigmoid": Activation("result", lambda _n, y: y * (1 - y), _is(0.25)),
    "LeakyRelu": Activation(
        "self", _leaky, lambda n: max(1.0, abs(float(n._saved_negative_slope))), _leaky
    ),
    "PreluKernel": Activation("self", _prelu, _steepest_prelu),
    "RreluWithNoise": Activation("self", _rrelu, _one, _rrelu),
    "Elu": Activation("self", _elu, _steepest_elu, _elu_in_place),
    "Celu": Activation("self", _celu, _one, _celu_in_place),
    "Gelu": Activation("self", _gelu, _is(1.1289)),  # at sqrt(2)
    "Silu": Activation("self", _silu, _is(1.0998)),  # at 2.3994
    "Mish": Activation("self", _mish, _is(1.0885)),  # at 1.4906
    "Hardswish": Activation("self", _hardswish, _is(1.5)),  # just below 3
    "Hardtanh": Activation(
        "self",
        lambda n, x: ((x > n._saved_min_val) & (x < n._saved_max_val)).to(x.dtype),
        _one,
    ),
    "Hardsigmoid": Activation("self", _between(-3, 3, 1 / 6), _is(1 / 6)),
    "Softplus": Activation("self", lambda n, x: torch.sigmoid(x * n._saved_beta), _one),
    "LogSigmoid": Activation("self", lambda _n, x: torch.sigmoid(-x), _one),
    "Threshold": Activation("self", lambda n, x: (x > n._saved_threshold).to(x.dtype), _one),
    "Hardshrink": Activation("self", lambda n, x: (x.abs() > n._saved_lambd).to(x.dtype), _one),
    "Softshrink": Activation("self", lambda n, x: (x.abs() > n._saved_lambd).to(x.dtype), _one),
    "Sin": Activation("self", lambda _n, x: torch.cos(x), _one),
    "Erf": Activation(
        "self", lambda _n, x: 2 / math.sqrt(math.pi) * torch.exp(-x * x), _is(1.1284)
    ),
}
"""Every activation whose graph node tells its derivative; the gated linear unit's does not."""


@dataclass(frozen=True, slots=True)
class Reading:
    """An activation, or attention, in one sample; None where it cannot be known."""

    units: int
    dead: Scalar | None = None
    dead_recent: Scalar | None = None
    dead_run: Scalar | None = None
    saturated: Scalar | None = None
    saturated_units: Scalar | None = None
    mean: Scalar | None = None
    variance: Scalar | None = None
    input_largest: Scalar | None = None
    first_direction: Scalar | None = None


@dataclass(slots=True)
class _Life:
    alive: Tensor
    streak: Tensor
    samples: int = 1


@dataclass(slots=True)
class Activations:
    """Reads activations, and remembers per unit whether it ever lived (one mask a site)."""

    _lives: dict[tuple[int, int], _Life] = field(default_factory=dict)

    def read(
        self,
        node: Any,
        operation: str,
        axis: int | None,
        moves: Sequence[Any],
        key: tuple[int, int],
    ) -> Reading | None:
        """Read one node before its backward frees what it saved; None if it keeps nothing.

        Args:
            node: The activation's.
            operation: Its name, as :data:`ACTIVATIONS` has it.
            axis: Where the layer before it has its units; None if that is not known.
            moves: The nodes that move axes between the two, from the layer on.
            key: Its site and call, by which its units are remembered.
        """
        activation = ACTIVATIONS.get(operation)
        if activation is None:
            return None
        keeps, derivative = activation.keeps, activation.derivative
        kept = saved(node, keeps)
        if kept is None and activation.in_place is not None:
            keeps, derivative = "result", activation.in_place
            kept = saved(node, keeps)
        if kept is None or kept.numel() == 0 or not kept.is_floating_point():
            return None
        kept = kept.float() if kept.dtype in (torch.float16, torch.bfloat16) else kept
        slope = derivative(node, kept).abs()
        slope = slope.unsqueeze(0) if slope.dim() < 2 else slope
        axis = _unit_axis(slope, axis, moves)
        others = [d for d in range(slope.dim()) if d != axis % slope.dim()]
        dead = slope.amax(dim=others) == 0
        limit = SATURATED_BELOW * activation.largest(node)
        life = self._live(key, dead)
        recent = life.samples >= _RECENT
        is_input = keeps == "self"
        before = kept if is_input else _pre_activation(node, operation, kept)
        mean, variance = _moments(before)
        return Reading(
            units=dead.numel(),
            dead=share_of(dead),
            dead_recent=share_of(life.streak >= _RECENT) if recent else None,
            dead_run=share_of(~life.alive),
            saturated=share_of(slope < limit),
            saturated_units=share_of(slope.mean(dim=others) < limit),
            mean=mean,
            variance=variance,
            input_largest=largest_magnitude(before) if before is not None else None,
            first_direction=first_direction(kept)
            if axis % slope.dim() == slope.dim() - 1
            else None,
        )

    def _live(self, key: tuple[int, int], dead: Tensor) -> _Life:
        life = self._lives.get(key)
        if life is None or life.alive.shape != dead.shape or life.alive.device != dead.device:
            life = self._lives[key] = _Life(alive=~dead, streak=dead.to(torch.int32))
            return life
        life.alive |= ~dead
        life.streak = (life.streak + 1) * dead
        life.samples += 1
        return life


def _unit_axis(slope: Tensor, axis: int | None, moves: Sequence[Any]) -> int:
    count = slope.dim()
    if axis is None or axis >= count:
        return 1 if count >= 4 else -1
    axis %= count
    for node in moves:
        order = _order(node, count)
        axis = order.index(axis) if axis in order else axis
    return axis


def _order(node: Any, count: int) -> list[int]:
    """Return which of its input's axes each axis of a node's output is."""
    if "Permute" in node.name():
        return [signed(dim) % count for dim in node._saved_dims]
    first, second = signed(node._saved_dim0) % count, signed(node._saved_dim1) % count
    order = list(range(count))
    order[first], order[second] = second, first
    return order


def signed(dim: int) -> int:
    """Return a dimension as it was given: autograd shows -1 as a large number."""
    return dim - (1 << 64) if dim >= 1 << 63 else dim


def share_of(mask: Tensor) -> Scalar:
    """Return the share of True entries; a float on the CPU, a 0-d tensor elsewhere."""
    count = torch.count_nonzero(mask)
    if mask.device.type == "cpu":
        return int(count) / mask.numel()
    return count.to(torch.float64) / mask.numel()


def _moments(x: Tensor | None) -> tuple[Scalar | None, Scalar | None]:
    if x is None:
        return None, None
    if x.device.type == "cpu":  # var_mean goes entry by entry there, eight times as slow
        middle = float(x.mean(dtype=torch.float64).item())
        spread = float(norm(x - middle))
        return middle, spread * spread / x.numel()
    variance, mean = torch.var_mean(x, correction=0)
    return mean, variance


def first_direction(x: Tensor) -> Scalar | None:
    """Return the share of the variance between examples that lies in one direction.

    Examples are all but the last axis, 64 of them evenly spread; six rounds of power iteration on
    their Gram matrix give a lower bound, which is exact where one direction has nearly all.

    Args:
        x: ``[..., units]``; None is returned below three units or eight examples.

    Example:
        >>> line = torch.linspace(-1, 1, 32)[:, None]
        >>> share = first_direction(line * torch.tensor([[3.0, -1.0, 2.0, 0.5]]))
        >>> round(share, 6)
        1.0
    """
    rows = x.detach().reshape(-1, x.shape[-1])
    if rows.shape[1] < _LEAST_UNITS or rows.shape[0] < _LEAST_EXAMPLES:
        return None
    rows = rows[:: -(-rows.shape[0] // _MOST_EXAMPLES)]
    rows = rows - rows.mean(0)
    gram = rows @ rows.T
    total = gram.diagonal().sum()
    found = gram[gram.diagonal().argmax()]
    for _ in range(_ROUNDS):
        found = gram @ (found / found.norm().clamp(min=_TINY))
    share = found.norm() / total.clamp(min=_TINY)
    return float(share.item()) if share.device.type == "cpu" else share.to(torch.float64)


def _pre_activation(node: Any, operation: str, kept: Tensor) -> Tensor | None:
    """Return what an activation that kept its result ``kept`` was applied to, if it can be."""
    child = node.next_functions[0][0]
    found = rebuild(child) if child is not None else None
    if found is not None:
        return found.float() if found.dtype in (torch.float16, torch.bfloat16) else found
    if operation not in ("Sigmoid", "Tanh") or kept.device.type != "cpu":
        return None
    inverse = (torch.logit if operation == "Sigmoid" else torch.atanh)(kept.double())
    return inverse if bool(torch.isfinite(inverse).all()) else None
