"""Layers in a row: where a block of the gradient's way begins, and where branches close."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from headwater.checks.descriptions import Stage, flat
from headwater.checks.readings import Reading
from headwater.initialisers.access import operation
from headwater.theory.layers import Activate, BatchNorm, LayerNorm, NotCovered, RMSNorm

NORMS = (BatchNorm, LayerNorm, RMSNorm)


def is_sum(reading: Reading, stage: Stage) -> bool:
    """Whether two ways of the signal are added there."""
    return len(stage.branches) == 2 and operation(reading, stage) in ("Add", "Sub")


def sums_in(reading: Reading, chain: Sequence[Stage]) -> int:
    """Count the residual sums of a stream: those whose branch has weights."""
    return sum(is_sum(reading, stage) and has_weights(stage) for stage in chain)


def has_weights(stage: Stage) -> bool:
    """Whether weights stand in one of a stage's branches."""
    return any(inner.weights for inner in flat([stage]) if inner is not stage)


@dataclass(frozen=True, slots=True)
class Ways:
    """The two ways of a residual sum: the branch has more weights, the stream is the other."""

    branch: tuple[Stage, ...]
    stream: tuple[Stage, ...]


def ways(stage: Stage) -> Ways:
    """Tell the branch of a sum from its stream."""
    first, second = stage.branches

    def count(way: Sequence[Stage]) -> int:
        return sum(inner.weights is not None for inner in flat(way))

    if count(first) > count(second):
        return Ways(branch=first, stream=second)
    return Ways(branch=second, stream=first)


def is_boundary(stage: Stage) -> bool:
    """Whether a block of the gradient's way ends there: weights, or a place where ways meet."""
    return stage.weights is not None or has_weights(stage)


def normalised_after(chain: Sequence[Stage], place: int) -> bool:
    """Whether a normalisation undoes the scale of the layer at a place, before anything bends it.

    Example:
        >>> normalised_after((), 0)
        False
    """
    for stage in chain[place + 1 :]:
        if isinstance(stage.layer, NORMS):
            return True
        if is_boundary(stage) or isinstance(stage.layer, Activate):
            return False
    return False


def last_factor(chain: Sequence[Stage]) -> tuple[nn.Parameter | None, int]:
    """Return the learnt factor of a norm that ends a chain after its last weights, if one does.

    Returns:
        The factor (None where the norm has none or no norm ends it), and its place; -1 for none.
    """
    for place in range(len(chain) - 1, -1, -1):
        if isinstance(chain[place].layer, NORMS):
            factor = getattr(chain[place].place.module(), "weight", None)
            return (factor if isinstance(factor, nn.Parameter) else None), place
        if is_boundary(chain[place]):
            break
    return None, -1


def last_weights(chain: Sequence[Stage]) -> int:
    """Return the place of the last weights of a chain itself, -1 for none."""
    return max((at for at, stage in enumerate(chain) if stage.weights), default=-1)


def between(chain: Sequence[Stage], place: int) -> str:
    """Name what stands between the layer at a place and the weights before it.

    Example:
        >>> between((), 0)
        'input'
    """
    words: list[str] = []
    for stage in reversed(chain[:place]):
        if is_boundary(stage):
            return ", ".join(reversed(words or ["sum" if stage.branches else "weights"]))
        words.append(name_of(stage))
    return ", ".join(reversed(words)) or "input"


def name_of(stage: Stage) -> str:
    """Name a stage as people do: the activation, or the layer's kind."""
    layer = stage.layer
    if isinstance(layer, Activate):
        named = layer.activation
        return named if isinstance(named, str) else named.name
    if isinstance(layer, NotCovered):
        return layer.name
    return "norm" if isinstance(layer, NORMS) else _WORDS.get(type(layer).__name__, layer.name)


_WORDS = {
    "Dropout": "dropout",
    "AveragePool": "pool",
    "MaxPool": "pool",
    "Scale": "scale",
    "Residual": "sum",
}


def uncovered_weights(stage: Stage) -> bool:
    """Whether theory has no word for these weights; a spoilt start alone does not make it so."""
    weights, layer = stage.weights, stage.layer
    if weights is None or not isinstance(layer, NotCovered):
        return False
    return not weights.shifted and weights.variance != 0
