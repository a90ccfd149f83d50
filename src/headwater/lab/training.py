"""How an ensemble is trained: members, data, schedule, what is recorded and with what means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headwater.errors import EnsembleError
from headwater.lab.draws import Initialiser
from headwater.lab.network import Floats, Network
from headwater.lab.optimisers import Clip, Optimiser

LARGEST_SEED = 2**63 - 1

Backend = Literal["auto", "kernel", "stacked"]


@dataclass(frozen=True, kw_only=True)
class Training:
    """The schedule that all members follow.

    Attributes:
        epochs: Passes over the training points.
        optimiser: Its learning rate holds for members that name none.
        batch_size: Points of a step, or None for all; the last batch of an epoch is what is left,
            as a DataLoader gives it.
        shuffle: Whether each member draws a new order every epoch.
        clip: Gradient clipping, if any.
    """

    epochs: int
    optimiser: Optimiser
    batch_size: int | None = 32
    shuffle: bool = True
    clip: Clip | None = None

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise EnsembleError("epochs", self.epochs, "at least 0")
        if self.batch_size is not None and self.batch_size < 1:
            raise EnsembleError("batch_size", self.batch_size, "at least 1, or None for all points")


@dataclass(frozen=True, kw_only=True, eq=False)
class Members:
    """Who takes part: one member a seed.

    Attributes:
        seeds: One a member, at least 0; it decides the weights, the batches and RReLU's slopes, so
            equal seeds with different learning rates or initialisers are paired.
        initialiser: One for all, or one a member.
        learning_rate: One a member; the optimiser's for all if not given.
        parameters: First parameters ``[members, network.size]`` instead of drawn ones.

    Example:
        >>> from headwater.lab.draws import torch_default
        >>> len(Members(seeds=range(60), initialiser=torch_default()))
        60
    """

    seeds: Sequence[int] | NDArray[np.integer]
    initialiser: Initialiser | Sequence[Initialiser]
    learning_rate: Sequence[float] | Floats | None = None
    parameters: Floats | None = None

    def __len__(self) -> int:
        """Return the number of members."""
        return len(self.seeds)

    def __post_init__(self) -> None:
        count = len(self.seeds)
        whole = all(isinstance(seed, int | np.integer) for seed in self.seeds)
        if count == 0 or not whole or min(self.seeds) < 0 or max(self.seeds) > LARGEST_SEED:
            raise EnsembleError(
                "seeds", list(self.seeds)[:5], "one or more whole numbers from 0 to 2^63 - 1"
            )
        if self.learning_rate is not None and not np.all(np.asarray(self.learning_rate) >= 0):
            raise EnsembleError("learning_rate", self.learning_rate, "numbers of at least 0")
        each = {"initialiser": self.initialiser, "learning_rate": self.learning_rate}
        each["parameters"] = self.parameters
        for name, values in each.items():
            if values is None or isinstance(values, Initialiser):
                continue
            if len(values) != count:
                raise EnsembleError(f"{name}", f"{len(values)} values", f"one a seed: {count}")

    def first_parameters(self, network: Network) -> Floats:
        """Return the parameters before training, ``[members, network.size]``."""
        if self.parameters is not None:
            given = np.array(self.parameters, dtype=network.dtype)
            if given.shape != (len(self), network.size):
                raise EnsembleError("parameters", given.shape, f"{(len(self), network.size)}")
            return given
        one = isinstance(self.initialiser, Initialiser)
        return np.stack(
            [
                (self.initialiser if one else self.initialiser[k]).draw(network, int(seed))  # type: ignore[union-attr, index]
                for k, seed in enumerate(self.seeds)
            ]
        )

    def learning_rates(self, optimiser: Optimiser) -> Floats:
        """Return every member's learning rate, ``[members]``, float64."""
        if self.learning_rate is None:
            return np.full(len(self), optimiser.learning_rate)
        return np.asarray(self.learning_rate, dtype=np.float64)

    def chosen(self, rows: Sequence[int]) -> Members:
        """Return the members of these rows; each is who it was."""

        def each(values: Any) -> Any:
            return None if values is None else [values[row] for row in rows]

        one = isinstance(self.initialiser, Initialiser)
        return Members(
            seeds=each(self.seeds),
            initialiser=self.initialiser if one else each(self.initialiser),
            learning_rate=each(self.learning_rate),
            parameters=None if self.parameters is None else self.parameters[list(rows)],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Data:
    """Training points and, if any, test points: the same for all members or each its own.

    Attributes:
        x: ``[n, inputs]``, or ``[members, n, inputs]``.
        y: ``[n]`` or ``[n, outputs]``, or with members in front; labels 0 and 1 for ``bce``.
        test_x: As ``x``.
        test_y: As ``y``.

    Example:
        >>> Data(x=np.zeros((500, 2)), y=np.zeros(500)).y.shape
        (500, 1)
    """

    x: Floats
    y: Floats
    test_x: Floats | None = None
    test_y: Floats | None = None

    def __post_init__(self) -> None:
        if (self.test_x is None) != (self.test_y is None):
            raise EnsembleError("test data", "one of test_x and test_y", "both or neither")
        for points, targets in (("x", "y"), ("test_x", "test_y")):
            if getattr(self, points) is None:
                continue
            x = np.asarray(getattr(self, points), dtype=np.float64)
            y = np.asarray(getattr(self, targets), dtype=np.float64)
            y = y[..., None] if y.ndim == x.ndim - 1 else y
            if x.ndim not in {2, 3} or y.shape[:-1] != x.shape[:-1] or 0 in x.shape:
                raise EnsembleError(
                    f"{points} and {targets}",
                    (x.shape, y.shape),
                    "[n, inputs] and [n, outputs], both with members in front or neither",
                )
            object.__setattr__(self, points, x)
            object.__setattr__(self, targets, y)

    def chosen(self, rows: Sequence[int]) -> Data:
        """Return the data of these members: itself if it is everyone's."""
        if self.x.ndim == 2:
            return self
        at, test_x, test_y = list(rows), self.test_x, self.test_y
        return Data(
            x=self.x[at],
            y=self.y[at],
            test_x=None if test_x is None else test_x[at],
            test_y=None if test_y is None else test_y[at],
        )


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is kept, and every how many epochs; 0 is never, 1 every epoch.

    Whatever is kept at all is kept before the first epoch and after the last, too.

    Attributes:
        losses: Loss and accuracy on training and test points: half the cost if every epoch.
            Taken at the start and the end even if 0.
        gradients: Norms over all training points, per layer.
        weights: L1 norm of every unit's incoming weights, and PReLU's slopes.
        units: Dead and saturated shares per hidden layer, over all training points.
        steps: Of how many first steps the batch's loss and gradient norm are kept.
    """

    losses: int = 10
    gradients: int = 0
    weights: int = 0
    units: int = 0
    steps: int = 0

    def __post_init__(self) -> None:
        for name in ("losses", "gradients", "weights", "units", "steps"):
            if getattr(self, name) < 0:
                raise EnsembleError(f"record.{name}", getattr(self, name), "0 or more")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far an ensemble is: ``done`` of ``total`` member-epochs, with what it said before."""

    done: int
    total: int
    memory_bytes: int
    message: str


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What the work may use; no result depends on it but on ``backend`` and ``device``.

    Attributes:
        memory_bytes: Limit of the engine's own memory; the ensemble is worked on in blocks that
            fit.
        threads: Blocks at a time of the kernel; the processors there are if None.
        backend: ``kernel`` is compiled by numba and needs the extra ``lab``; ``stacked`` is
            batched PyTorch; ``auto`` takes the kernel where it can.
        device: A torch device; other than ``cpu`` it is always ``stacked``.
    """

    memory_bytes: int = 2 << 30
    threads: int | None = None
    backend: Backend = "auto"
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.backend not in {"auto", "kernel", "stacked"}:
            raise EnsembleError("backend", self.backend, "'auto', 'kernel' or 'stacked'")
        if self.threads is not None and self.threads < 1:
            raise EnsembleError("threads", self.threads, "at least 1, or None for all")


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """One call of the engine, checked: what backends are given.

    Raises:
        EnsembleError: The parts do not fit each other.
    """

    network: Network
    members: Members
    data: Data
    training: Training
    record: Record = field(default_factory=Record)

    def __post_init__(self) -> None:
        inputs, outputs = self.network.widths[0], self.network.widths[-1]
        got = self.data.x.shape[-1], self.data.y.shape[-1]
        if got != (inputs, outputs):
            raise EnsembleError(
                "data",
                f"{got[0]} inputs and {got[1]} outputs",
                f"{inputs} inputs and {outputs} outputs",
            )
        labels = self.data.y
        if self.network.loss == "bce" and not ((labels >= 0) & (labels <= 1)).all():
            raise EnsembleError(
                "y",
                f"{labels.min():g} to {labels.max():g}",
                "labels from 0 to 1 for the loss 'bce'",
            )
        if self.data.x.ndim == 3 and len(self.data.x) != len(self.members):
            raise EnsembleError(
                "data", f"{len(self.data.x)} sets", f"{len(self.members)}, or one for all"
            )
        if self.network.batch_norm and self.smallest_batch == 1 and self.training.epochs:
            raise EnsembleError(
                "batch_size",
                self.training.batch_size,
                "one whose last batch is not of one point, which batch normalisation cannot take",
            )

    def chosen(self, rows: Sequence[int]) -> Plan:
        """Return the plan of the members of these rows, each as often as it is named."""
        return replace(self, members=self.members.chosen(rows), data=self.data.chosen(rows))

    @property
    def points(self) -> int:
        """Return the number of training points."""
        return int(self.data.x.shape[-2])

    @property
    def batch(self) -> int:
        """Return the points of a whole batch."""
        return min(self.training.batch_size or self.points, self.points)

    @property
    def smallest_batch(self) -> int:
        """Return the points of an epoch's last batch."""
        return self.points % self.batch or self.batch

    @property
    def steps_per_epoch(self) -> int:
        """Return the optimiser's steps in one epoch."""
        return -(-self.points // self.batch)

    @property
    def steps(self) -> int:
        """Return the optimiser's steps of the whole training."""
        return self.steps_per_epoch * self.training.epochs

    def epochs_of(self, every: int) -> NDArray[np.int64]:
        """Return after which epochs something is recorded: 0, multiples of ``every``, the last."""
        last = self.training.epochs
        return np.unique([0, *range(every, last, every), last] if every else [0, last])
