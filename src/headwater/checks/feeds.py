"""What a network is fed and how its loss is made: given, or made up where nothing is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from headwater.errors import UsageError

SAMPLES = 64
"""Of a batch that is made up."""

_IMAGE, _LENGTH = 32, 32  # pixels and positions of made-up images and sequences
_CONVOLUTIONS: Mapping[type, int] = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}


@dataclass(frozen=True, kw_only=True)
class Feed:
    """The arguments of a network's forward pass, and how a loss is made of its output.

    Attributes:
        inputs: Positional arguments.
        named: Arguments by name.
        target: Second argument of the loss, None where it takes the output alone.
        loss: Makes the loss; None for a random direction at the output, which is what theory
            assumes of the end of a network.
        made_up: Whether the inputs were made up.
    """

    inputs: tuple[Any, ...] = ()
    named: Mapping[str, Any] = field(default_factory=dict)
    target: Any = None
    loss: Callable[..., Any] | None = None
    made_up: bool = False

    def forward(self, model: nn.Module) -> tuple[Tensor, Tensor]:
        """Run the network; return its output and the loss.

        Raises:
            UsageError: The output holds no tensor with a graph, or the loss is no scalar.
        """
        result = model(*self.inputs, **self.named)
        output = next((t for t in _tensors(result) if t.grad_fn is not None), None)
        if output is None:
            raise UsageError(
                f"the network returned {type(result).__name__} without a gradient; it takes one "
                "that returns a tensor made of its parameters"
            )
        if self.loss is None:
            direction = torch.randn(output.shape, device=output.device, dtype=output.dtype)
            return output, (output * direction).sum()
        loss = self.loss(result) if self.target is None else self.loss(result, self.target)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            got = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise UsageError(
                f"the loss function returned {got}; it takes one that returns a scalar"
            )
        return output, loss

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first input that is a tensor."""
        found = next(_tensors((*self.inputs, *self.named.values())), None)
        return tuple(found.shape) if found is not None else ()

    @property
    def mean_square(self) -> float | None:
        """Mean square of the first input's entries; None for words and other whole numbers."""
        found = next(_tensors((*self.inputs, *self.named.values())), None)
        if found is None or not found.is_floating_point():
            return None
        return float(found.detach().double().square().mean())


def feed(model: nn.Module, batch: Any = None, loss_fn: Callable[..., Any] | None = None) -> Feed:
    """Read a batch as training scripts have it.

    Args:
        model: For what the first layer takes, where no batch is given.
        batch: A tensor; a pair of inputs and target; a mapping of arguments by name; or None.
        loss_fn: Takes output and target, or the output alone where the batch has no target.

    Raises:
        UsageError: No batch is given, and the first layer does not tell what it takes.

    Example:
        >>> feed(nn.Sequential(nn.Linear(3, 2))).shape
        (64, 3)
        >>> feed(nn.Linear(3, 2), (torch.zeros(8, 3), torch.zeros(8)), nn.MSELoss()).target.shape
        torch.Size([8])
    """
    if batch is None:
        return Feed(inputs=(_made_up(model),), loss=loss_fn, made_up=True)
    if isinstance(batch, Mapping):
        return Feed(named=batch, loss=loss_fn)
    if isinstance(batch, tuple | list) and len(batch) == 2:
        inputs, target = batch
        target = target if loss_fn is not None else None
        if isinstance(inputs, Mapping):
            return Feed(named=inputs, target=target, loss=loss_fn)
        several = tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)
        return Feed(inputs=several, target=target, loss=loss_fn)
    if isinstance(batch, tuple | list):
        return Feed(inputs=tuple(batch), loss=loss_fn)
    return Feed(inputs=(batch,), loss=loss_fn)


def _made_up(model: nn.Module) -> Tensor:
    """Return what the first layer that tells it takes, of mean 0 and mean square 1."""
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    for module in model.modules():
        shape = _input_shape(module)
        if shape is not None:
            return torch.randn(SAMPLES, *shape, device=like.device, dtype=like.dtype)
        if isinstance(module, nn.Embedding):
            words = (SAMPLES, _LENGTH)
            return torch.randint(module.num_embeddings, words, device=like.device)
    kinds = ", ".join(sorted({type(m).__name__ for m in model.modules() if not list(m.children())}))
    raise UsageError(
        f"no batch was given, and {type(model).__name__} does not tell what it takes (it has "
        f"{kinds or 'no layers'}); give a batch, as in a factory that returns (model, batch)"
    )


def _input_shape(module: nn.Module) -> tuple[int, ...] | None:
    if isinstance(module, nn.Linear):
        return (module.in_features,)
    if isinstance(module, nn.RNNBase):
        return (_LENGTH, module.input_size)
    axes = _CONVOLUTIONS.get(type(module))
    return (int(vars(module)["in_channels"]), *(_IMAGE,) * axes) if axes else None


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in a model's input or output, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for each in value:
            yield from _tensors(each)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from _tensors(getattr(value, name))
