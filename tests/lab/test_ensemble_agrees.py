"""Every member is what a plain PyTorch loop makes of its first weights and its batches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from plain_loop import ACTIVATIONS, plain_training
from plans import plan, rings

from headwater.lab.ensemble import (
    Clip,
    Data,
    Optimiser,
    Record,
    Resources,
    adam,
    adamw,
    rmsprop,
    sgd,
    train,
)
from headwater.lab.history import History
from headwater.lab.training import Plan

BACKENDS = ("kernel", "stacked")

OPTIMISERS: dict[str, Optimiser] = {
    "sgd": sgd(0.1),
    "momentum": sgd(0.1, momentum=0.9),
    "nesterov and decay": sgd(0.1, momentum=0.8, nesterov=True, weight_decay=0.01),
    "adam": adam(0.01),
    "adam and decay": adam(0.01, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.1),
    "adamw": adamw(0.01, weight_decay=0.1),
    "rmsprop": rmsprop(0.01),
    "rmsprop with momentum and decay": rmsprop(0.01, alpha=0.9, momentum=0.5, weight_decay=0.1),
}
CLIPS = {
    "norm": Clip(kind="norm", limit=0.05),
    "tensor": Clip(kind="norm_per_tensor", limit=0.02),
    "value": Clip(kind="value", limit=0.01),
}


def run(given: Plan, backend: str) -> History:
    return train(
        given.network,
        given.members,
        given.data,
        given.training,
        record=given.record,
        resources=Resources(backend=backend),  # type: ignore[arg-type]
    )


def assert_plain(given: Plan, backend: str, *, rel: float = 2e-4) -> None:
    """Compare every member's every step, and what it ends with.

    Rounding is amplified by training itself, so that a tolerance of 1e-4 after 15 steps is what
    float32 gives; in float64 it is 1e-11.
    """
    found = run(given, backend)
    assert found.backend == backend
    for member in range(len(given.members)):
        plain = plain_training(given, member)
        assert found.steps is not None
        assert found.steps.loss[member] == pytest.approx(plain.losses, rel=rel)
        assert found.steps.gradient_norm[member] == pytest.approx(plain.norms, rel=rel, abs=rel)
        assert found.last_parameters[member] == pytest.approx(plain.parameters, rel=rel, abs=rel)
        assert found.losses.train_loss[member, -1] == pytest.approx(plain.train_loss, rel=rel)
        assert found.losses.test_loss[member, -1] == pytest.approx(plain.test_loss, rel=rel)
        if given.network.loss == "bce":
            assert found.losses.test_accuracy[member, -1] == pytest.approx(plain.test_accuracy)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_with_every_activation_that_torch_has(activation: str, backend: str) -> None:
    assert_plain(plan(activation=activation, seeds=[4, 9]), backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", OPTIMISERS)
def test_with_every_optimiser(name: str, backend: str) -> None:
    assert_plain(plan(optimiser=OPTIMISERS[name]), backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("optimiser", [sgd(0.5, momentum=0.9), adam(0.01)], ids=["sgd", "adam"])
@pytest.mark.parametrize("name", CLIPS)
def test_with_every_clipping(name: str, optimiser: Optimiser, backend: str) -> None:
    given = plan(optimiser=optimiser, clip=CLIPS[name])
    assert_plain(given, backend)
    unclipped = run(replace(given, training=replace(given.training, clip=None)), backend)
    assert not np.allclose(run(given, backend).last_parameters, unclipped.last_parameters)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("activation", ["relu", "tanh", "prelu", "rrelu"])
def test_with_batch_normalisation_and_its_running_moments(activation: str, backend: str) -> None:
    given = plan(activation=activation, network={"batch_norm": True})
    assert_plain(given, backend, rel=2e-3)
    double = plan(activation=activation, network={"batch_norm": True, "dtype": "float64"})
    assert_plain(double, backend, rel=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("activation", ["tanh", "gelu", "silu", "selu", "softplus", "prelu"])
def test_in_float64_to_eleven_digits(activation: str, backend: str) -> None:
    assert_plain(plan(activation=activation, network={"dtype": "float64"}), backend, rel=1e-10)


SHAPES: dict[str, dict[str, Any]] = {
    "no hidden layer": {"widths": (3, 1)},
    "many inputs, hidden units and outputs": {"widths": (7, 11, 3, 6, 4)},
    "one unit a layer": {"widths": (1, 1, 1, 1)},
    "squared error": {"network": {"loss": "mse"}},
    "squared error of several outputs": {"widths": (2, 6, 3), "network": {"loss": "mse"}},
    "full batch": {"batch_size": None},
    "batches of one point": {"batch_size": 1, "epochs": 1},
    "batches of three points": {"batch_size": 3, "epochs": 1},
    "a batch larger than a tile": {"batch_size": 40},
    "a batch larger than the data": {"batch_size": 500},
    "batches in order": {"shuffle": False},
    "a rate for each member": {"learning_rate": [0.0, 0.1, 0.3]},
    "more members than lanes": {"seeds": range(18), "epochs": 1},
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_in_every_shape_and_schedule(shape: str, backend: str) -> None:
    assert_plain(plan(**SHAPES[shape]), backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_with_data_of_each_members_own(backend: str) -> None:
    sets = [rings(seed=seed) for seed in (5, 6, 7)]
    own = Data(
        **{
            name: np.stack([getattr(data, name) for data in sets])
            for name in ("x", "y", "test_x", "test_y")
        }
    )
    found = run(plan(data=own), backend)
    for member, data in enumerate(sets):
        alone = plain_training(plan(data=data), member)
        assert found.last_parameters[member] == pytest.approx(alone.parameters, rel=2e-4, abs=2e-4)
        assert found.losses.test_loss[member, -1] == pytest.approx(alone.test_loss, rel=2e-4)


@pytest.mark.parametrize(
    "activation",
    [
        "lecun_tanh",
        "erf",
        "erf_unit",
        "relu2",
        "quick_gelu",
        "sin",
        "silu(1.5)",
        "leaky_relu",
        "rrelu(eval)",
        "rrelu(train, 0.1, 0.9)",
        "prelu(-0.5)",
    ],
)
def test_both_backends_agree_where_torch_has_no_such_module(activation: str) -> None:
    given = plan(activation=activation, record=Record(losses=1, gradients=1, units=1, weights=1))
    kernel, stacked = run(given, "kernel"), run(given, "stacked")
    close = {"rtol": 1e-3, "atol": 1e-4}
    np.testing.assert_allclose(kernel.last_parameters, stacked.last_parameters, **close)
    np.testing.assert_allclose(kernel.gradients.signals, stacked.gradients.signals, **close)
    np.testing.assert_allclose(kernel.losses.test_loss, stacked.losses.test_loss, **close)
    np.testing.assert_allclose(kernel.weights.slopes, stacked.weights.slopes, **close)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("kind", [{}, {"activation": "rrelu"}, {"network": {"batch_norm": True}}])
def test_a_cuda_device_gives_what_the_processor_gives(kind: dict[str, Any]) -> None:
    given = plan(record=Record(losses=1, gradients=1, units=1, weights=1, steps=5), **kind)
    here = run(given, "stacked")
    there = train(
        given.network,
        given.members,
        given.data,
        given.training,
        record=given.record,
        resources=Resources(device="cuda"),
    )
    assert there.last_parameters == pytest.approx(here.last_parameters, rel=2e-3, abs=2e-3)
    assert there.losses.test_loss == pytest.approx(here.losses.test_loss, rel=2e-3)
    assert there.gradients is not None
    assert here.gradients is not None
    assert there.gradients.signals == pytest.approx(here.gradients.signals, rel=2e-3, abs=1e-4)
