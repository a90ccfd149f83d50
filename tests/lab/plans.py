"""Small ensembles for the tests: a plan that can be changed in one place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from headwater.lab.ensemble import (
    Data,
    Initialiser,
    Members,
    Network,
    Record,
    Training,
    normal,
    sgd,
    xavier_uniform,
)
from headwater.lab.training import Plan

DRAWN = Initialiser(hidden=xavier_uniform(), bias=normal(0.3))


def rings(points: int = 70, inputs: int = 2, outputs: int = 1, seed: int = 0) -> Data:
    """Return points in a square with a label for those far out; half of them test points."""
    random = np.random.default_rng(seed)
    x = random.uniform(-1, 1, (2 * points, inputs))
    far = (x**2).sum(axis=1, keepdims=True) + random.normal(0, 0.1, (2 * points, outputs))
    y = (far > 2 * inputs / 6).astype(float)
    return Data(x=x[:points], y=y[:points], test_x=x[points:], test_y=y[points:])


def plan(
    *,
    activation: str = "tanh",
    widths: tuple[int, ...] = (2, 5, 4, 1),
    seeds: Any = range(3),
    data: Data | None = None,
    initialiser: Any = DRAWN,
    learning_rate: Any = None,
    parameters: Any = None,
    record: Record = Record(losses=1, steps=1000),  # noqa: B008
    network: dict[str, Any] | None = None,
    **training: Any,
) -> Plan:
    """Return a plan of three members on 70 points, batches of 16 and a last one of 6."""
    schedule = Training(epochs=3, optimiser=sgd(0.1, momentum=0.9), batch_size=16)
    return Plan(
        network=Network(widths=widths, activation=activation, **(network or {})),
        members=Members(
            seeds=seeds,
            initialiser=initialiser,
            learning_rate=learning_rate,
            parameters=parameters,
        ),
        data=data or rings(inputs=widths[0], outputs=widths[-1]),
        training=replace(schedule, **training),
        record=record,
    )
