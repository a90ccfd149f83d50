"""What an ensemble left: every member's curves, norms and parameters, as plain arrays.

Axes come in one order: members, then the epochs recorded, then layers or units. ``epochs`` counts
finished epochs, so epoch 0 is before training. A member that is no longer finite has NaN where it
has no number; the others do not know of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from headwater.lab.network import Floats, Network

Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Losses:
    """Loss and accuracy; ``[members, epochs]`` each.

    Accuracy is the share of (point, output) pairs on the right side of a logit of 0; NaN for
    ``mse`` and where the member is not finite. Without test data the test columns are NaN.
    """

    epochs: Integers
    train_loss: Floats
    test_loss: Floats
    train_accuracy: Floats
    test_accuracy: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Gradients:
    """Frobenius norms of the gradient of the mean loss over all training points.

    Batch normalisation sees all points as one batch; RReLU has its mean slope. Sums are taken in
    float64.

    Attributes:
        epochs: ``[epochs]``.
        weights: Of dL/dW, ``[members, epochs, layers]``.
        signals: Of dL/dz, z the output of the linear map, over all points and units of the layer,
            ``[members, epochs, layers]``; the last layer is the network's output.
    """

    epochs: Integers
    weights: Floats
    signals: Floats

    def ratio(self) -> Floats:
        """Return |dL/dz_1| / |dL/dz_L|, first layer to output, ``[members, epochs]``.

        0/0 is NaN: a dead network has no ratio.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.signals[..., 0] / self.signals[..., -1]


@dataclass(frozen=True, kw_only=True, eq=False)
class UnitWeights:
    """L1 norm of each unit's incoming weights, biases left out, and PReLU's slopes.

    Attributes:
        epochs: ``[epochs]``.
        l1: One array a layer, the output's last, ``[members, epochs, units]``.
        slopes: ``[members, epochs, hidden layers]``; no layers if the network learns none.
    """

    epochs: Integers
    l1: tuple[Floats, ...]
    slopes: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Units:
    """Dead and saturated shares by hidden layer, ``[members, epochs, hidden layers]``.

    A unit is dead if its derivative is exactly 0 for every training point; an entry (unit, point)
    is saturated if its derivative is under 5 % of the activation's steepest in size. Batch
    normalisation sees all points as one batch; RReLU has its mean slope.
    """

    epochs: Integers
    dead: Floats
    saturated: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Steps:
    """The first steps' batch loss and gradient norm, before clipping; ``[members, steps]``.

    The norm is of all parameters together. Column 0 is the first step: the first parameters on the
    first batch.
    """

    loss: Floats
    gradient_norm: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """All that was recorded; what was not asked for is None.

    Attributes:
        network: The shape, which says where each tensor lies in the parameters.
        seeds: ``[members]``.
        learning_rates: ``[members]``.
        losses: Loss and accuracy.
        first_parameters: Before training, ``[members, network.size]``.
        last_parameters: After it.
        first_non_finite: The step, counted from 1, after which a parameter or at which the loss
            was not finite first; 0 if all stayed finite. ``[members]``.
        gradients: Norms by layer.
        weights: L1 norms by unit.
        units: Dead and saturated shares.
        steps: The first steps.
        backend: ``kernel`` or ``stacked``.
    """

    network: Network
    seeds: Integers
    learning_rates: Floats
    losses: Losses
    first_parameters: Floats
    last_parameters: Floats
    first_non_finite: Integers
    backend: str
    gradients: Gradients | None = None
    weights: UnitWeights | None = None
    units: Units | None = None
    steps: Steps | None = None

    def __len__(self) -> int:
        """Return the number of members."""
        return len(self.seeds)

    @property
    def finite(self) -> NDArray[np.bool_]:
        """Say of each member whether it stayed finite."""
        return np.asarray(self.first_non_finite == 0)

    def learns(self, threshold: float = 0.75) -> NDArray[np.bool_]:
        """Say of each member whether its last test accuracy is above the threshold."""
        return np.asarray(self.losses.test_accuracy[:, -1] > threshold)

    def first_epoch_over(self, threshold: float = 0.75) -> Floats:
        """Return each member's first recorded epoch of test accuracy above it; NaN if none.

        It is only as fine as ``record.losses``.
        """
        over = self.losses.test_accuracy > threshold
        epochs = self.losses.epochs[np.argmax(over, axis=1)].astype(np.float64)
        return np.where(over.any(axis=1), epochs, np.nan)

    def relative_change(self) -> Floats:
        """Return |W - W_0|_1 / |W_0|_1 of each layer's weights, ``[members, layers]``."""
        first = self.network.tensors(self.first_parameters.astype(np.float64), "weight")
        last = self.network.tensors(self.last_parameters.astype(np.float64), "weight")
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = [
                np.abs(after - before).sum(axis=(1, 2)) / np.abs(before).sum(axis=(1, 2))
                for before, after in zip(first, last, strict=True)
            ]
        return np.stack(moved, axis=1)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return one history of all parts' members, in order; recorded at the same epochs."""
        joined: Self = _join(parts)
        return joined


SHARED = {"network", "epochs", "backend"}
"""Fields that all parts have in common; every other one has members in front."""


def _join(parts: Sequence[Any]) -> Any:
    first: Any = parts[0]
    if first is None:
        return None
    if isinstance(first, tuple):
        return tuple(_join(layer) for layer in zip(*parts, strict=True))
    if is_dataclass(first):
        values = {
            field.name: getattr(first, field.name)
            if field.name in SHARED
            else _join([getattr(part, field.name) for part in parts])
            for field in fields(first)
        }
        made: Callable[..., Any] = type(first)
        return made(**values)
    return np.concatenate(parts)
