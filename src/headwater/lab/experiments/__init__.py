"""The laboratory's experiments: one file, one claim."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headwater.errors import UnknownExperimentError
from headwater.lab.experiment import Experiment
from headwater.lab.experiments import (
    activations,
    adding_problem,
    bias_shift,
    born_dead,
    deep_linear,
    depth_width,
    derivatives,
    dying_relu,
    elu_speed,
    exploding,
    logistic,
    prelu_slopes,
    relu_he,
    rrelu_gap,
    saturation,
    shallow_tanh,
    softmax,
    sparsity,
    still_weights,
    tanh_adam,
    tanh_uniform,
    tanh_xavier,
    through_time,
    trainability,
    two_circles,
    uniform_weights,
    width_fluctuation,
)

EXPERIMENTS: Mapping[str, Experiment[Any]] = {
    one.name: one
    for one in (
        two_circles.EXPERIMENT,
        shallow_tanh.EXPERIMENT,
        tanh_uniform.EXPERIMENT,
        uniform_weights.EXPERIMENT,
        tanh_xavier.EXPERIMENT,
        tanh_adam.EXPERIMENT,
        relu_he.EXPERIMENT,
        still_weights.EXPERIMENT,
        derivatives.EXPERIMENT,
        activations.EXPERIMENT,
        dying_relu.EXPERIMENT,
        exploding.EXPERIMENT,
        depth_width.EXPERIMENT,
        bias_shift.EXPERIMENT,
        elu_speed.EXPERIMENT,
        trainability.EXPERIMENT,
        prelu_slopes.EXPERIMENT,
        rrelu_gap.EXPERIMENT,
        logistic.EXPERIMENT,
        saturation.EXPERIMENT,
        sparsity.EXPERIMENT,
        born_dead.EXPERIMENT,
        width_fluctuation.EXPERIMENT,
        deep_linear.EXPERIMENT,
        through_time.EXPERIMENT,
        adding_problem.EXPERIMENT,
        softmax.EXPERIMENT,
    )
}


def find_experiment(name: str) -> Experiment[Any]:
    """Return the experiment of a name.

    Raises:
        UnknownExperimentError: There is none of that name; the message names the nearest.

    Example:
        >>> find_experiment("softmax").exact
        True
    """
    if name not in EXPERIMENTS:
        raise UnknownExperimentError(name, tuple(EXPERIMENTS))
    return EXPERIMENTS[name]
