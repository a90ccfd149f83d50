"""Train hundreds of small networks of one shape at once, each with its own seed.

``train`` takes the shape, the members, the data and the schedule, and returns a ``History`` of
plain arrays. Each member is what a plain PyTorch loop with its first weights and its batches
would be, to float tolerance, and knows nothing of the others: not how many there are, not in
which block it stood, not whether one has become NaN.

Example:
    >>> import numpy as np
    >>> from headwater.lab.ensemble import (
    ...     Data, Initialiser, Members, Network, Record, Training, sgd, train, xavier_uniform)
    >>> points = np.random.default_rng(0).uniform(-1, 1, (200, 2))
    >>> history = train(
    ...     Network(widths=(2, 8, 1), activation="tanh"),
    ...     Members(seeds=range(16), initialiser=Initialiser(hidden=xavier_uniform())),
    ...     Data(x=points, y=points[:, 0] > 0),
    ...     Training(epochs=20, optimiser=sgd(0.1, momentum=0.9)),
    ...     record=Record(losses=10, gradients=20),
    ... )
    >>> history.losses.epochs.tolist(), history.losses.train_loss.shape
    ([0, 10, 20], (16, 3))
    >>> bool((history.losses.train_accuracy[:, -1] > 0.9).all())
    True
    >>> history.gradients.signals.shape  # members, epochs 0 and 20, layers
    (16, 2, 2)
"""

from __future__ import annotations

from headwater.lab.division import Listener, carry_out, divide
from headwater.lab.draws import (
    Draw,
    Initialiser,
    constant,
    he_normal,
    he_uniform,
    identity,
    lecun_normal,
    lecun_uniform,
    normal,
    orthogonal,
    scaled_normal,
    scaled_uniform,
    torch_default,
    uniform,
    xavier_normal,
    xavier_uniform,
)
from headwater.lab.history import Gradients, History, Losses, Steps, Units, UnitWeights
from headwater.lab.network import Network
from headwater.lab.optimisers import Clip, Optimiser, adam, adamw, rmsprop, sgd
from headwater.lab.training import Data, Members, Plan, Progress, Record, Resources, Training

__all__ = [
    "Clip",
    "Data",
    "Draw",
    "Gradients",
    "History",
    "Initialiser",
    "Losses",
    "Members",
    "Network",
    "Optimiser",
    "Progress",
    "Record",
    "Resources",
    "Steps",
    "Training",
    "UnitWeights",
    "Units",
    "adam",
    "adamw",
    "constant",
    "gradient_at_start",
    "he_normal",
    "he_uniform",
    "identity",
    "lecun_normal",
    "lecun_uniform",
    "memory_needed",
    "normal",
    "orthogonal",
    "rmsprop",
    "scaled_normal",
    "scaled_uniform",
    "sgd",
    "torch_default",
    "train",
    "uniform",
    "xavier_normal",
    "xavier_uniform",
]


LOSSES = Record()
WHOLE_MACHINE = Resources()


def train(
    network: Network,
    members: Members,
    data: Data,
    training: Training,
    *,
    record: Record = LOSSES,
    resources: Resources = WHOLE_MACHINE,
    progress: Listener | None = None,
) -> History:
    """Train every member and return what was recorded.

    Args:
        network: The shape of all members.
        members: Seeds, first weights and learning rates.
        data: Training and test points.
        training: Epochs, batches, optimiser, clipping.
        record: What is kept, and how often.
        resources: Memory, threads, backend.
        progress: Called first with the memory that will be needed, before any work, then as the
            work goes on, always on the calling thread.

    Raises:
        EnsembleError: The parts do not fit each other, or not even one block fits the memory.
        MissingExtraError: ``backend="kernel"`` without numba.
    """
    plan = Plan(network=network, members=members, data=data, training=training, record=record)
    return carry_out(plan, divide(plan, resources), resources, progress)


def memory_needed(
    network: Network,
    members: Members,
    data: Data,
    training: Training,
    *,
    record: Record = LOSSES,
    resources: Resources = WHOLE_MACHINE,
) -> int:
    """Return the bytes that ``train`` with the same arguments takes at its height.

    What it returns and what it works with, without Python, the libraries and the caller's data.

    Raises:
        EnsembleError: As ``train`` would.
        MissingExtraError: As ``train`` would.
    """
    plan = Plan(network=network, members=members, data=data, training=training, record=record)
    return divide(plan, resources).memory_bytes


def gradient_at_start(network: Network, members: Members, data: Data) -> Gradients:
    """Return the gradient's norms by layer before any training; epoch 0 is the only one.

    Example:
        >>> import numpy as np
        >>> points = np.random.default_rng(0).uniform(-1, 1, (100, 2))
        >>> found = gradient_at_start(
        ...     Network(widths=(2, 5, 5, 5, 5, 5, 1), activation="sigmoid"),
        ...     Members(seeds=range(50), initialiser=Initialiser(hidden=xavier_uniform())),
        ...     Data(x=points, y=points[:, 0] > 0))
        >>> found.signals.shape
        (50, 1, 6)
        >>> bool(np.median(found.ratio()) < 5e-3)  # each sigmoid takes three quarters at least
        True
    """
    untrained = Training(epochs=0, optimiser=sgd(0.0))
    found = train(network, members, data, untrained, record=Record(losses=0, gradients=1))
    assert found.gradients is not None
    return found.gradients
