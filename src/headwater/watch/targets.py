"""What a loss compares its input with, from the node that kept both: how the targets are scaled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from headwater.watch.saved import saved
from headwater.watch.statistics import Scalar

COMPARING = frozenset({
    "MseLoss", "SmoothL1Loss", "HuberLoss", "BinaryCrossEntropy", "BinaryCrossEntropyWithLogits",
})  # fmt: skip
"""The losses whose node keeps its targets as numbers."""

LABELLED = frozenset({"NllLoss", "NllLoss2D"})
"""The losses whose node keeps labels of classes."""

READ = COMPARING | LABELLED

_EXAMPLES_A_CLASS = 4
"""With fewer examples for each class that occurs, their entropy says little of all labels'."""


@dataclass(frozen=True, slots=True)
class Targets:
    """The targets of one batch.

    ``variance`` is that of each output over the batch, its first axis, with the bias taken out,
    and the mean over the outputs: the squared error of an answer that is right on average only.
    None for a single example. ``entropy`` is that of class labels, which have none of the others;
    a batch's own is too low by half a nat for each class but one over its size, which is added
    (Miller, 1955, Note on the bias of information estimates). NaN where classes are too many.
    """

    mean: Scalar | None = None
    variance: Scalar | None = None
    least: Scalar | None = None
    largest: Scalar | None = None
    entropy: Scalar | None = None


_NAMES = tuple(field.name for field in fields(Targets))
TARGET_FIGURES = len(_NAMES)


def read_targets(node: Any, operation: str) -> Targets | None:
    """Read a loss's targets before its backward frees them; None if there are none to be had.

    Example:
        >>> wanted = torch.tensor([[0.0], [1.0], [5.0]])
        >>> loss = torch.nn.functional.mse_loss(torch.zeros(3, 1, requires_grad=True), wanted)
        >>> read_targets(loss.grad_fn, "MseLoss")
        Targets(mean=2.0, variance=7.0, least=0.0, largest=5.0, entropy=None)
        >>> scores = torch.zeros(8, 2, requires_grad=True)
        >>> loss = torch.nn.functional.cross_entropy(scores, torch.arange(8) % 2)
        >>> round(read_targets(loss.grad_fn, "NllLoss").entropy, 4)  # ln 2 + 1/16
        0.7556
    """
    kept = saved(node, "target") if operation in READ else None
    if kept is None or kept.numel() == 0:
        return None
    with torch.no_grad():
        if operation in LABELLED:
            return _labels(node, kept)
        if not kept.is_floating_point():
            return None
        kept = kept.double() if kept.device.type == "cpu" else kept.float()
        variance = kept.var(0).mean() if kept.dim() and len(kept) > 1 else None
        least, largest = torch.aminmax(kept)
        return Targets(
            mean=_figure(kept.mean()),
            variance=_figure(variance) if variance is not None else None,
            least=_figure(least),
            largest=_figure(largest),
        )


def _labels(node: Any, labels: Tensor) -> Targets | None:
    scores = saved(node, "self")
    if scores is None or scores.dim() < 2 or saved(node, "weight") is not None:
        return None  # weights make another loss of it, with another level to compare with
    labels = labels.flatten()
    counted = labels != node._saved_ignore_index
    counts = torch.zeros(scores.shape[1], dtype=torch.float64, device=labels.device)
    counts.scatter_add_(0, torch.where(counted, labels, 0), counted.double())
    examples, occurring = counts.sum(), torch.count_nonzero(counts)
    entropy = torch.special.entr(counts / examples).sum() + (occurring - 1) / (2 * examples)
    few = examples < _EXAMPLES_A_CLASS * occurring
    return Targets(entropy=_figure(torch.where(few, torch.nan, entropy)))


def target_scalars(targets: Mapping[int, Targets]) -> list[Any]:
    """Return what is to be fetched of targets."""
    return [getattr(one, name) for one in targets.values() for name in _NAMES]


def target_columns(
    targets: Mapping[int, Targets], fetched: Sequence[Any], nodes: Sequence[int]
) -> dict[str, list[Any]]:
    """Return the columns of ``sites.arrow`` on targets, a row for each of ``nodes``."""
    columns = {}
    for place, name in enumerate(_NAMES):
        known = dict(zip(targets, fetched[place::TARGET_FIGURES], strict=True))
        columns[f"target_{name}"] = [known.get(node) for node in nodes]
    return columns


def _figure(value: Tensor) -> Scalar:
    return float(value.item()) if value.device.type == "cpu" else value.double()
