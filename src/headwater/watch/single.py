"""One forward and backward pass by itself, under the same ledger as a training's, but no record.

For what is asked of a network before it trains. Gradients, buffers, random streams and the mode
of the module are afterwards what they were before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from headwater.runs.ledger import Ledger
from headwater.watch.door import Call
from headwater.watch.graph import Plan, Walk, make_plan, walk
from headwater.watch.names import Names
from headwater.watch.samples import Sampler
from headwater.watch.sites import SiteTable
from headwater.watch.stacks import STACKS, Place
from headwater.watch.statistics import Fetched
from headwater.watch.tracing import Tracing


@dataclass(frozen=True, kw_only=True)
class Made:
    """The graph of a forward pass whose nodes still hold what they saved.

    Attributes:
        graph: The nodes, from the loss on; their numbers are those of the ledger's rows.
        plan: What each of them is.
        places: Where each of them was made.
        end: Number of the node that made the network's output.
        leaves: The parameter's name of each leaf's number.
    """

    graph: Walk
    plan: Plan
    places: tuple[Place, ...]
    end: int
    leaves: Mapping[int, str]


@dataclass(frozen=True, kw_only=True)
class SinglePass:
    """What one pass through a network has shown: the account, and what ``look`` saw before."""

    ledger: Ledger
    seen: Any
    loss: float


def single_pass(
    model: nn.Module,
    forward: Callable[[], tuple[Tensor, Tensor]],
    look: Callable[[Made], Any] | None = None,
) -> SinglePass:
    """Run one pass of ``model`` under the ledger.

    Args:
        model: The root; its parameters' gradients are set aside and put back.
        forward: Returns the network's output and the scalar loss made of it.
        look: Reads the graph in between, before the backward pass frees what nodes saved.

    Raises:
        Exception: Whatever the model raises.
        RuntimeError: The loss does not depend on a parameter, or not on the output.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
        >>> def forward():
        ...     output = net(torch.ones(2, 3))
        ...     return output, output.sum()
        >>> seen = single_pass(net, forward)
        >>> sorted(seen.ledger.names), net[0].weight.grad
        (['0.weight', '1.weight'], None)
    """
    faults: list[Exception] = []
    names = Names()
    sites = SiteTable(names)
    sampler = Sampler(names, sites, faults.append)
    tracing = Tracing(eager=True, fault=faults.append)
    with undisturbed(model), ExitStack() as stack:
        names.add_root(model)
        tracing.open()
        stack.callback(tracing.close)
        tracing.set(True)
        output, loss = forward()
        tracing.set(False)
        graph = walk([loss.grad_fn] if loss.grad_fn is not None else [])
        if output.grad_fn not in graph.nodes:
            raise RuntimeError("the loss does not depend on the network's output")
        call = Call((loss,), (None,), None, creates_graph=False, is_grad=False, nested=False)
        sample = sampler.begin(call, 0, 0, 0)
        if sample is None:
            raise RuntimeError("the loss has no graph")
        stack.callback(sample.tap.detach)
        leaves = {n: leaf for n, leaf in enumerate(sample.parameters) if leaf is not None}
        infos = names.parameter_infos()
        made = Made(
            graph=graph,
            plan=make_plan(graph.names, graph.edges, frozenset(leaves)),
            places=tuple(STACKS.place_of(node) for node in graph.nodes),
            end=graph.nodes.index(output.grad_fn),
            leaves={number: infos[leaf].name for number, leaf in leaves.items()},
        )
        with torch.no_grad():
            seen = look(made) if look is not None else None
        torch.autograd.backward(loss)
    for fault in faults:
        raise fault
    columns = sample.columns(Fetched(sample.scalars()).values())
    table = zip(*columns.values(), strict=True)
    rows = [dict(zip(columns, values, strict=True)) for values in table]
    ledger = Ledger(rows, sites.render(infos), infos)
    return SinglePass(ledger=ledger, seen=seen, loss=float(loss.detach()))


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Put back gradients, buffers and random streams, however the block ends.

    Example:
        >>> norm = nn.BatchNorm1d(2)
        >>> with undisturbed(norm):
        ...     _ = norm(torch.randn(8, 2))
        >>> norm.running_mean.tolist(), int(norm.num_batches_tracked)
        ([0.0, 0.0], 0)
    """
    parameters = list(model.parameters())
    gradients = [parameter.grad for parameter in parameters]
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    devices = _cuda_devices([*parameters, *(buffer for buffer, _ in buffers)])
    with torch.random.fork_rng(devices=devices):
        try:
            for parameter in parameters:
                parameter.grad = None
            yield
        finally:
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)


def _cuda_devices(tensors: Sequence[Tensor]) -> list[int]:
    return sorted({tensor.device.index or 0 for tensor in tensors if tensor.is_cuda})
