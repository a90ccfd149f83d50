"""The producer among many operations: the first fault that the loss or a gradient descends from."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from headwater.replay.monitor import Event, Monitor

NINF, INF, NAN = float("-inf"), float("inf"), float("nan")


def producer(make: Callable[[Tensor], Tensor], *, backward: bool = False) -> Event | None:
    torch.manual_seed(0)
    x = torch.randn(4, 8, requires_grad=True)
    with Monitor() as monitor:
        made = make(x)
        if backward:
            made.sum().backward()
    if backward:
        assert x.grad is not None
        return monitor.producer([x.grad])
    return monitor.producer([made])


def causal(x: Tensor) -> Tensor:
    mask = torch.triu(torch.full((4, 4), NINF), 1)
    return F.softmax(x @ x.T + mask, -1)


FORWARD: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "log of a negative": (lambda x: torch.log(x).sum(), "log"),
    "overflow of exp, divided": (lambda x: torch.exp(1e3 * x) / torch.exp(1e3 * x).sum(), "exp"),
    "the true one beside a mask": (lambda x: (causal(x)[0, 0] - 2).log(), "log"),
    "a row that is masked as a whole": (
        lambda x: F.softmax((x @ x.T).masked_fill(torch.ones(4, 4) > 0, NINF), -1),
        "softmax",
    ),
    "in place": (lambda x: (x * 1).log_().sum(), "log"),
    "the first of two": (lambda x: (x.abs() * -1).sqrt() + torch.log(x - 100), "sqrt"),
    "float16": (lambda x: (x.half() * 60000).float().sum(), "mul"),
    "one of several outputs": (lambda x: torch.var_mean(x[:1], 0)[0], "var_mean"),
}


@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
@pytest.mark.parametrize("name", FORWARD)
def test_the_forward_producer_is_named(name: str) -> None:
    make, operation = FORWARD[name]
    event = producer(make)
    assert event is not None
    assert (event.operation, event.node, event.outside) == (operation, "", False)


BACKWARD: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "root at 0": (lambda x: (0 * x).pow(2).sum().sqrt(), "SqrtBackward0"),
    "an unused logarithm": (
        lambda x: torch.where(x.abs() > 9, torch.log(0 * x), x),
        "LogBackward0",
    ),
    "power at 0": (lambda x: (0 * x).pow(0.5), "PowBackward0"),
}


@pytest.mark.parametrize("name", BACKWARD)
def test_the_backward_producer_is_named(name: str) -> None:
    make, node = BACKWARD[name]
    event = producer(make, backward=True)
    assert event is not None
    assert event.node == node


@pytest.mark.parametrize(
    "make",
    [
        causal,
        lambda x: torch.minimum(torch.full_like(x, INF), x),
        lambda x: torch.where(x > 0, x.log(), x),
        lambda x: torch.logsumexp((x @ x.T).masked_fill(torch.eye(4) == 0, NINF), -1),
        lambda x: (x @ x.T).masked_fill(torch.eye(4) == 0, NINF).max(-1).values,
    ],
)
def test_infinities_that_do_not_reach_the_end_are_no_fault(
    make: Callable[[Tensor], Tensor],
) -> None:
    assert producer(make) is None


def test_what_came_from_outside_is_told_apart() -> None:
    torch.manual_seed(0)
    data = torch.randn(4, 8)
    data[2, 3] = NAN
    event = producer(lambda x: (data * x).sum())
    assert event is not None
    assert event.outside
    assert event.tensor is data


def test_a_monitor_changes_no_number() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
    x = torch.randn(16, 8)
    found = []
    for watched in (False, True):
        torch.manual_seed(1)
        net.zero_grad()
        if watched:
            with Monitor():
                net(x).square().mean().backward()
        else:
            net(x).square().mean().backward()
        found.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
