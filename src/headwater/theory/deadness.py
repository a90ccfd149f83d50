"""ReLU networks that are born dead: constant, for one input or for all, before training.

Weights are symmetric about 0 and biases are 0 or symmetric too.

Source: Lu, Shin, Su and Karniadakis (2019), arXiv:1903.06733; Rister and Rubin (2020),
arXiv:2007.06192.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

BATCH = 512  # networks drawn at a time


def dead_for_one_input(widths: Sequence[int]) -> float:
    r"""Probability that some hidden layer is silent for one given input: exact.

    :math:`1 - \prod_l (1 - 2^{-N_l})`: each unit of a layer with a live input is open with
    probability 1/2, independently. It is also an upper bound for being dead for all inputs.

    Args:
        widths: Units of each hidden layer.

    Example:
        >>> dead_for_one_input([1, 1, 1])
        0.875
    """
    for width in widths:
        if width < 1:
            raise ValueError(f"widths must be at least 1, got {list(widths)!r}")
    # By logarithms, so that a probability of 1e-12 is not lost in 1 - (1 - 1e-12).
    if 1 in widths and len(widths) > 1000:
        return 1.0
    return -math.expm1(sum(math.log1p(-(2.0**-width)) for width in widths))


def width_to_live(hidden_layers: int, probability: float) -> int:
    r"""Smallest width at which at most this share of networks is dead for one input.

    Example:
        >>> width_to_live(5, 0.01)
        9
    """
    if not 0 < probability < 1:
        raise ValueError(f"probability must lie between 0 and 1, got {probability!r}")
    width = 1
    while dead_for_one_input([width] * hidden_layers) > probability:
        width += 1
    return width


def born_dead_bounds(width: int, depth: int) -> tuple[float, float]:
    r"""Lower and upper bound for a network being constant on all its inputs.

    One input dimension, biases 0, ``depth`` layers of weights, so depth - 1 hidden layers of N
    units. Upper: dead for one input. Lower, with :math:`a_1 = 1 - 2^{-N}` and
    :math:`a_2 = 1 - 2^{1-N} - (N-1) 2^{-2N}`:

    .. math:: 1 - a_1^{L-2} + \frac{(1 - 2^{1-N})(1 - 2^{-N})}{1 + (N-1) 2^{-N}}
              \left(a_2^{L-2} - a_1^{L-2}\right)

    Source: Lu et al. (2019), arXiv:1903.06733, the theorem for constant width.

    Example:
        >>> [round(bound, 6) for bound in born_dead_bounds(2, 10)]
        [0.870256, 0.924915]
    """
    if width < 1 or depth < 2:
        raise ValueError(f"width must be at least 1 and depth 2, got {width!r} and {depth!r}")
    half = 2.0**-width
    a1, a2 = 1 - half, 1 - 2 * half - (width - 1) * half**2
    share = (1 - 2 * half) * (1 - half) / (1 + (width - 1) * half)
    lower = 1 - a1 ** (depth - 2) + share * (a2 ** (depth - 2) - a1 ** (depth - 2))
    return lower, dead_for_one_input([width] * (depth - 1))


def born_dead_rate(
    width: int, depth: int, *, networks: int, seed: int, inputs: int = 1, points: int = 256
) -> float:
    r"""Share of drawn networks that are constant on all inputs, by Monte Carlo.

    With one input dimension and no bias the network is straight on each side of 0, so two inputs
    decide and the answer has sampling error only, :math:`\sqrt{p(1-p)/M}`. In more dimensions a
    network counts as dead if it is constant on ``points`` random directions, which is an upper
    estimate.

    Example:
        >>> low, high = born_dead_bounds(3, 10)
        >>> low < born_dead_rate(3, 10, networks=4000, seed=0) < high
        True
    """
    generator = np.random.default_rng(seed)
    dead = 0
    for start in range(0, networks, BATCH):
        count = min(BATCH, networks - start)
        if inputs == 1:
            x = np.broadcast_to(np.array([[1.0, -1.0]]), (count, 1, 2))
        else:
            x = np.broadcast_to(
                generator.standard_normal((inputs, points)), (count, inputs, points)
            )
        for _ in range(depth - 1):
            weights = generator.standard_normal((count, width, x.shape[1]))
            x = np.maximum(weights @ x, 0.0)
        dead += int((x == 0).all(axis=(1, 2)).sum())
    return dead / networks
