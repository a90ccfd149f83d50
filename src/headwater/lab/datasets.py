"""The data of the classic experiments, from scikit-learn's generators."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from headwater.errors import MissingExtraError
from headwater.lab.rows import Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Points ``[n, features]`` and targets ``[n]``, half to train on and half to test with."""

    train_x: Array
    train_y: Array
    test_x: Array
    test_y: Array


@lru_cache(maxsize=8)
def two_circles(*, points: int = 1000, noise: float = 0.1, seed: int = 1) -> Split:
    """Two noisy circles of radius 1 and 0.8, scaled to [-1, 1]; the first half is for training.

    Raises:
        MissingExtraError: scikit-learn is not installed.

    Example:
        >>> split = two_circles()
        >>> split.train_x.shape, round(float(split.test_y.mean()), 6)
        ((500, 2), 0.504)
    """
    x, y = circles_unscaled(points=points, noise=noise, seed=seed)
    low, high = x.min(axis=0), x.max(axis=0)
    return _halves(2 * (x - low) / (high - low) - 1, y.astype(float))


def circles_unscaled(*, points: int, noise: float, seed: int) -> tuple[Array, Array]:
    """Return the circles' points ``[n, 2]`` around the origin, and their labels, 1 for the inner.

    Raises:
        MissingExtraError: scikit-learn is not installed.

    Example:
        >>> x, y = circles_unscaled(points=4, noise=0.0, seed=0)
        >>> sorted(np.hypot(*x.T).round(6).tolist())
        [0.8, 0.8, 1.0, 1.0]
    """
    try:
        from sklearn.datasets import make_circles
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "lab", "the data of an experiment") from error
    x, y = make_circles(n_samples=points, noise=noise, random_state=seed)
    return x, y


@lru_cache(maxsize=8)
def regression(*, points: int = 1000, features: int = 20, seed: int = 1) -> Split:
    """A linear target of standard deviation about 150, all but free of noise.

    Raises:
        MissingExtraError: scikit-learn is not installed.

    Example:
        >>> split = regression()
        >>> split.train_x.shape, 140 < float(split.train_y.std()) < 170
        ((500, 20), True)
    """
    try:
        from sklearn.datasets import make_regression
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "lab", "the data of an experiment") from error
    x, y = make_regression(n_samples=points, n_features=features, noise=0.1, random_state=seed)
    return _halves(x, y)


def _halves(x: Array, y: Array) -> Split:
    half = len(x) // 2
    arrays = [np.ascontiguousarray(a, dtype=np.float32) for a in (x[:half], y[:half])]
    others = [np.ascontiguousarray(a, dtype=np.float32) for a in (x[half:], y[half:])]
    for array in (*arrays, *others):
        array.flags.writeable = False  # shared by all who ask, as the cache hands it out again
    return Split(train_x=arrays[0], train_y=arrays[1], test_x=others[0], test_y=others[1])
