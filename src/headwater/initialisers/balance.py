"""Data-driven initialisation: the network's own blocks brought to a gain of one, as measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from headwater.checks.feeds import feed
from headwater.errors import UsageError
from headwater.initialisers.access import first_reading, seed_here, thawed
from headwater.initialisers.bench import Bench
from headwater.initialisers.blocks import blocks
from headwater.initialisers.changes import Changes
from headwater.watch.single import undisturbed

_STARTS = (1.0, 0.1, 0.01, 0.001)


def balance_(
    model: nn.Module,
    batch: Any,
    loss_fn: Callable[..., Any] | None = None,
    *,
    variance: float | None = None,
    orthogonal: bool = False,
    frozen: bool = False,
    sweeps: int = 12,
    tolerance: float = 0.02,
    quiet: bool = False,
) -> Changes:
    r"""Scale a network's weights until each block hands the gradient on as large as it came.

    Nothing is assumed of the layers; all is measured on the batch, with its loss. First, one
    forward pass scales each weight so that its outputs have mean square ``variance`` (LSUV).
    Then sweeps over the ledger: a block reaches from the outputs of one weight back to the
    outputs of the weight before it, and each weight is divided by its block's gain, until all
    lie within the tolerance of 1.

    Forward and backward can conflict: no scale keeps both where forward and backward gain differ.
    It is reconciled in this order. Rows are centred where that takes more than half of the
    conflict away, as behind sigmoid and softplus. Then the gradient is kept exactly and the
    forward variance comes as it does: over 50 layers errors of the one multiply, while the
    other settles. Sharing the conflict evenly would leave half of it to each, at every layer.

    The first weight is scaled for ``variance``, as no gradient is measured before it. The last
    weight of each of L residual branches of a stream, or the factor of the norm that ends it, is
    scaled so that the branch has 1/L of the stream's mean square. A weight that is normalised
    afterwards is tried at twice its size: where the loss stays, its scale is left as it was. Tied
    weights get the geometric mean of what their uses want. Biases become 0.

    Args:
        model: Changed in place; parameters stay the same objects. Gradients, buffers, mode and
            random streams are left as they were.
        batch: As it is trained on.
        loss_fn: As it is trained with, of output and target, or of the output alone; without one
            the gradient begins in a random direction.
        variance: Mean square of the first outputs. By default the largest of 1, 0.1, 0.01, 0.001 at
            which the sweeps settle and a batch of twice the mean square has a gradient within
            half a decade of this one's.
        orthogonal: First replace each weight by the nearest semi-orthogonal matrix.
        frozen: Also scale parameters that require no gradient.
        sweeps: At most, at each variance that is tried.
        tolerance: Decades that a block may be off.
        quiet: Print nothing.

    Returns:
        What was done, parameter by parameter.

    Raises:
        UsageError: The network has no weights, does not take the batch, or the loss is no scalar
            or not finite.

    Source:
        Mishkin and Matas (2016), arXiv:1511.06422, for the forward pass.

    Example:
        >>> net = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
        >>> done = balance_(net, torch.randn(32, 8), lambda y: y.square().mean(), quiet=True)
        >>> done["2.weight"].after > done["2.weight"].before
        True
    """
    _refuse(variance, sweeps, tolerance)
    with undisturbed(model), thawed(model) as cold, torch.enable_grad():
        seed_here(model)
        bench = Bench(
            model=model,
            feed=feed(model, batch, loss_fn),
            frozen=frozenset() if frozen else cold,
            sweeps=sweeps,
            tolerance=tolerance,
        )
        bench.open(blocks(first_reading(model, bench.feed, "balance_"), 1.0))
        if orthogonal:
            bench.straighten()
        starts = _STARTS if variance is None else (variance,)
        for start in starts:
            bench.balance(start)
            if bench.settled and not bench.falls_apart():
                break
    done = Changes(
        title="balance_: weights that keep the gradient's norm, as measured",
        changes=tuple(bench.changes()),
        remarks=bench.remarks(),
    )
    if not quiet:
        print(done)
    return done


def _refuse(variance: float | None, sweeps: int, tolerance: float) -> None:
    if variance is not None and not 0 < variance < math.inf:
        raise UsageError(f"variance got {variance!r}; it takes a number above 0, such as 1.0")
    if sweeps < 1:
        raise UsageError(f"sweeps got {sweeps!r}; it takes a whole number from 1 on, such as 12")
    if not tolerance > 0:
        raise UsageError(f"tolerance got {tolerance!r}; it takes decades above 0, such as 0.02")
