"""What is to be learnt: small data sets that scikit-learn ships, and sequences drawn by seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """Inputs ``[examples, ...]`` and what they should become; ``classes`` is 0 for regression."""

    inputs: Tensor
    targets: Tensor
    outputs: int
    classes: int = 0


def _standardised(values: np.ndarray) -> Tensor:
    spread = values.std(axis=0)
    return torch.tensor((values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0)).float()


def _classes(inputs: Tensor, labels: np.ndarray) -> Task:
    targets = torch.tensor(labels).long()
    number = int(targets.max()) + 1
    return Task(inputs=inputs, targets=targets, outputs=number, classes=number)


def _circles() -> Task:
    points, labels = datasets.make_circles(512, noise=0.08, factor=0.5, random_state=0)
    return _classes(_standardised(points), labels)


def _moons() -> Task:
    points, labels = datasets.make_moons(512, noise=0.1, random_state=0)
    return _classes(_standardised(points), labels)


def _digits() -> Task:
    images = datasets.load_digits()
    return _classes(torch.tensor(images.data / 8.0 - 1.0).float(), images.target)


def _cancer() -> Task:
    table = datasets.load_breast_cancer()
    return _classes(_standardised(table.data), table.target)


def _wine() -> Task:
    table = datasets.load_wine()
    return _classes(_standardised(table.data), table.target)


def _diabetes() -> Task:
    table = datasets.load_diabetes()
    target = _standardised(table.target[:, None])
    return Task(inputs=_standardised(table.data), targets=target, outputs=1)


def _waves() -> Task:
    draw = np.random.default_rng(0)
    points = draw.uniform(-2, 2, (512, 4))
    heights = np.sin(points[:, :1] * 2) + points[:, 1:2] * points[:, 2:3]
    return Task(inputs=torch.tensor(points).float(), targets=_standardised(heights), outputs=1)


def _first_bit() -> Task:
    bits = np.random.default_rng(0).integers(0, 2, (512, 12))
    return _classes(torch.tensor(2.0 * bits[:, :, None] - 1).float(), bits[:, 0])


def _adding() -> Task:
    draw = np.random.default_rng(0)
    values = draw.uniform(-1, 1, (512, 10))
    marks = np.zeros((512, 10))
    marks[np.arange(512), draw.integers(0, 5, 512)] = 1
    marks[np.arange(512), draw.integers(5, 10, 512)] = 1
    inputs = torch.tensor(np.stack([values, marks], axis=2)).float()
    return Task(inputs=inputs, targets=_standardised((values * marks).sum(1)[:, None]), outputs=1)


def _tokens() -> Task:
    # A few words make most of the text, as in any language: most rows of an embedding rest.
    draw = np.random.default_rng(0)
    words = np.minimum(draw.zipf(1.5, (512, 8)) - 1, 99)
    return _classes(torch.tensor(words).long(), words[:, 0] % 4)


def _reconstruction() -> Task:
    images = _digits().inputs
    return Task(inputs=images, targets=images, outputs=64)


_TASKS: Mapping[str, Callable[[], Task]] = {
    "circles": _circles,
    "moons": _moons,
    "digits": _digits,
    "cancer": _cancer,
    "wine": _wine,
    "diabetes": _diabetes,
    "waves": _waves,
    "first-bit": _first_bit,
    "adding": _adding,
    "tokens": _tokens,
    "reconstruction": _reconstruction,
}


@cache
def task(name: str) -> Task:
    """Return a task by its name."""
    return _TASKS[name]()
