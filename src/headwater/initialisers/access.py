"""A network lent to an initialiser: read with other weights in it, and given back as it was."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from headwater.checks.descriptions import Stage, flat
from headwater.checks.feeds import Feed
from headwater.checks.readings import Reading, read
from headwater.errors import HeadwaterError, UsageError


@contextmanager
def thawed(model: nn.Module) -> Iterator[frozenset[str]]:
    """Let gradients come by at every parameter, so that frozen layers are seen, too.

    Yields:
        The names of those that are frozen; they are so again when the block ends.

    Example:
        >>> net = nn.Linear(2, 2).requires_grad_(False)
        >>> with thawed(net) as frozen:
        ...     sorted(frozen), net.weight.requires_grad
        (['bias', 'weight'], True)
        >>> net.weight.requires_grad
        False
    """
    frozen = {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.is_floating_point() and not parameter.requires_grad
    }
    try:
        for parameter in frozen.values():
            parameter.requires_grad_(True)
        yield frozenset(frozen)
    finally:
        for parameter in frozen.values():
            parameter.requires_grad_(False)


@contextmanager
def plain_weights(model: nn.Module, keep: frozenset[str]) -> Iterator[None]:
    """Put weights of variance 1 over fan-in in, so that a spoilt start hides no structure.

    Constant or exploding weights would be read as layers that theory does not cover.

    Args:
        model: Whose matrices and kernels are replaced until the block ends.
        keep: Names of parameters that stay as they are.
    """
    kept: list[tuple[Tensor, Tensor]] = []
    parameter: Tensor
    generator = torch.Generator().manual_seed(0)
    try:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in keep or parameter.dim() < 2 or not parameter.is_floating_point():
                    continue
                kept.append((parameter, parameter.detach().clone()))
                scale = math.sqrt(parameter.shape[0] / max(parameter.numel(), 1))
                parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
        yield
    finally:
        with torch.no_grad():
            for parameter, before in kept:
                parameter.copy_(before)


def first_reading(model: nn.Module, feed: Feed, asked: str) -> Reading:
    """Read a network for the first time, when its batch may turn out not to fit.

    Raises:
        UsageError: The network does not take the batch, or has no weights to set.
    """
    try:
        reading = read(model, feed)
    except HeadwaterError:
        raise
    except Exception as error:  # whatever a user's forward pass raises
        raise UsageError(
            f"{asked} got a batch of shape {feed.shape} on which the forward pass raised "
            f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}; give a "
            "batch that the network and the loss take: inputs, or (inputs, targets)"
        ) from error
    if not any(stage.weights for stage in flat(reading.stages)):
        kinds = sorted({type(m).__name__ for m in model.modules() if not list(m.children())})
        raise UsageError(
            f"{asked} got a network without weights that it knows ({', '.join(kinds) or 'empty'}); "
            "it sets those of dense layers and convolutions"
        )
    return reading


def operation(reading: Reading, stage: Stage) -> str:
    """Return the operation at a stage's node, such as ``Add``; empty if the gradient missed it."""
    row = reading.row(stage.node)
    return reading.ledger.by_site()[row["site"]].site.operation if row is not None else ""


def seed_here(model: nn.Module) -> None:
    """Seed the streams that the network draws from; only inside a block that puts them back."""
    torch.default_generator.manual_seed(0)
    devices = {parameter.device for parameter in model.parameters() if parameter.is_cuda}
    for device in devices:
        with torch.cuda.device(device):
            torch.cuda.manual_seed(0)
