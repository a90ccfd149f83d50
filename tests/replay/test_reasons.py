"""Every cause in words, from operations that really made it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from headwater.replay.monitor import Monitor
from headwater.replay.reasons import Happening, forward_of, plain_name, reason

NINF = float("-inf")


def cause(make: Callable[[Tensor], Tensor], *, backward: bool = False) -> str:
    x = torch.tensor([[1.0, -2.0, 0.0, 3.0]], requires_grad=True)
    with Monitor() as monitor:
        made = make(x)
        if backward:
            made.sum().backward()
    event = monitor.producer([x.grad if backward and x.grad is not None else made])
    assert event is not None
    found = reason(
        Happening(
            operation=plain_name(event.operation),
            forward=plain_name(forward_of(event.node) if event.node else event.operation),
            phase="backward" if event.node else "forward",
            inputs=event.inputs,
            scalars=event.scalars,
            makes_nan=event.makes_nan,
        )
    )
    assert found.words
    return found.cause


FORWARD: list[tuple[str, Callable[[Tensor], Tensor]]] = [
    ("log-of-zero", lambda x: x.clamp(0).log()),
    ("log-of-negative", lambda x: x.log()),
    ("log-of-negative", lambda x: torch.log1p(x - 5)),
    ("sqrt-of-negative", lambda x: x.sqrt()),
    ("division-by-zero", lambda x: x.abs().rsqrt()),
    ("zero-over-zero", lambda x: x / x.clamp(0)[:, 2:3] * 0),
    ("division-by-zero", lambda x: (x.abs() + 1) / x[:, 2:3]),
    ("division-by-tiny", lambda x: (x + 9) / torch.full_like(x, 1e-39)),
    ("power-of-negative", lambda x: x.pow(0.5)),
    ("power-at-zero", lambda x: x.abs().pow(-1.0)),
    ("exp-overflow", lambda x: (100 * x).exp()),
    ("overflow-in-half", lambda x: (x.half() * 60000)),
    ("overflow-in-half", lambda x: (x * 60000).half()),
    ("overflow-in-half", lambda x: (x.half() * 20000).abs().sum()),
    ("overflow-in-reduction", lambda x: (x.abs() * 1e38).repeat(1, 9).sum()),
    ("overflow-in-product", lambda x: (x * 1e30) @ (x.T * 1e30)),
    ("masked-row", lambda x: F.softmax(x.masked_fill(x < 9, NINF), -1)),
    ("zero-times-inf", lambda x: (x > 9).float() * NINF),
    ("variance-of-one", lambda x: x[:, :1].std(1)),
    ("domain", torch.acos),
    ("domain", torch.atanh),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
@pytest.mark.parametrize(("wanted", "make"), FORWARD)
def test_a_forward_cause_is_told(wanted: str, make: Callable[[Tensor], Tensor]) -> None:
    assert cause(make) == wanted


BACKWARD: list[tuple[str, Callable[[Tensor], Tensor]]] = [
    ("sqrt-at-zero", lambda x: (0 * x).pow(2).sum().sqrt()),
    ("power-at-zero", lambda x: x.abs().pow(0.5)),
    ("log-of-zero", lambda x: torch.where(x > 9, (0 * x).log(), x)),
    ("domain", lambda x: torch.acos(x.clamp(1, 1) + 0 * x)),
]


@pytest.mark.parametrize(("wanted", "make"), BACKWARD)
def test_a_backward_cause_is_told(wanted: str, make: Callable[[Tensor], Tensor]) -> None:
    assert cause(make, backward=True) == wanted
