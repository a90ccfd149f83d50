"""What a history holds: norms, shares, slopes and dates, against figures taken apart from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from plain_loop import Net, plain_training
from plans import plan, rings

from headwater.lab.ensemble import (
    Data,
    History,
    Initialiser,
    Members,
    Network,
    Record,
    Resources,
    constant,
    gradient_at_start,
    he_uniform,
    sgd,
    train,
    uniform,
    xavier_uniform,
)
from headwater.lab.training import Plan

BACKENDS = ("kernel", "stacked")


def run(given: Plan, backend: str = "kernel") -> History:
    return train(
        given.network,
        given.members,
        given.data,
        given.training,
        record=given.record,
        resources=Resources(backend=backend),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", ["tanh", "relu", "prelu"])
def test_gradient_norms_are_autograds_over_all_training_points(
    activation: str, batch_norm: bool, backend: str
) -> None:
    given = plan(
        activation=activation,
        network={"batch_norm": batch_norm, "dtype": "float64"},
        record=Record(gradients=2),
    )
    found = run(given, backend).gradients
    assert found is not None
    assert found.epochs.tolist() == [0, 2, 3]
    first = given.members.first_parameters(given.network)
    x, y = torch.tensor(given.data.x), torch.tensor(given.data.y)
    for member in range(3):
        net = Net(given.network)
        net.set(first[member])
        signals: list[torch.Tensor] = []
        for linear in net.linear:
            linear.register_forward_hook(lambda _m, _i, out, kept=signals: kept.append(out))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(net(x), y)
        wanted = [*net.linear.parameters(), *signals]
        norms = [float(part.norm()) for part in torch.autograd.grad(loss, wanted)]
        assert found.weights[member, 0] == pytest.approx(norms[0:6:2], rel=1e-9)
        assert found.signals[member, 0] == pytest.approx(norms[6:], rel=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_gradient_at_the_start_is_that_of_epoch_0(backend: str) -> None:
    given = plan(record=Record(gradients=1))
    alone = gradient_at_start(given.network, given.members, given.data)
    found = run(given, backend).gradients
    assert found is not None
    assert alone.signals[:, 0] == pytest.approx(found.signals[:, 0], rel=1e-5)
    assert alone.epochs.tolist() == [0]
    assert alone.ratio()[:, 0] == pytest.approx(alone.signals[:, 0, 0] / alone.signals[:, 0, 2])


def test_each_sigmoid_layer_takes_three_quarters_and_more_of_the_gradient() -> None:
    sigmoid = Network(widths=(2, 5, 5, 5, 5, 5, 1), activation="sigmoid")
    drawn = Members(seeds=range(100), initialiser=Initialiser(hidden=xavier_uniform()))
    ratio = np.median(gradient_at_start(sigmoid, drawn, rings()).ratio())
    assert 0.231**5 / 1.6 < ratio < 0.231**5 * 1.6


@pytest.mark.parametrize("backend", BACKENDS)
def test_dead_and_saturated_shares_are_those_of_the_derivative(backend: str) -> None:
    parameters = np.zeros((1, Network(widths=(2, 3, 1)).size))
    # Three units: x, 20 x, and one that no point reaches; x runs from -1 to 1.
    parameters[0, [0, 2]], parameters[0, 8] = [1.0, 20.0], -5.0
    line = np.stack([np.linspace(-1, 1, 101), np.zeros(101)], axis=1)
    data = Data(x=line, y=line[:, 0] > 0)
    drawn: dict[str, Any] = {"widths": (2, 3, 1), "seeds": [0], "data": data, "epochs": 0}
    given = plan(activation="relu", parameters=parameters, record=Record(units=1), **drawn)
    relu = run(given, backend).units
    assert relu is not None
    assert relu.dead[0, 0] == pytest.approx([1 / 3])
    assert relu.saturated[0, 0] == pytest.approx([(51 + 51 + 101) / 303])
    given = plan(activation="tanh", parameters=parameters, record=Record(units=1), **drawn)
    tanh = run(given, backend).units
    assert tanh is not None
    steep = np.concatenate([line[:, 0], 20 * line[:, 0], np.full(101, -5.0)])
    share = (1 / np.cosh(steep) ** 2 < 0.05).mean()
    assert tanh.saturated[0, 0] == pytest.approx([share])
    assert tanh.dead[0, 0] == [0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_normalisation_wakes_units_that_a_bias_had_put_to_sleep(backend: str) -> None:
    asleep = Initialiser(hidden=he_uniform(), bias=constant(-3.0))
    settings: dict[str, Any] = {
        "activation": "relu",
        "initialiser": asleep,
        "seeds": range(20),
        "record": Record(units=1),
        "epochs": 0,
    }
    dead = run(plan(**settings), backend).units
    awake = run(plan(network={"batch_norm": True}, **settings), backend).units
    assert dead is not None
    assert awake is not None
    assert dead.dead.mean() > 0.9
    assert awake.dead.mean() == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_incoming_weights_are_summed_by_unit_without_biases(backend: str) -> None:
    given = plan(record=Record(weights=1))
    found = run(given, backend)
    assert found.weights is not None
    assert [layer.shape for layer in found.weights.l1] == [(3, 4, 5), (3, 4, 4), (3, 4, 1)]
    for at, parameters in ((0, found.first_parameters), (-1, found.last_parameters)):
        for layer, weights in enumerate(given.network.tensors(parameters, "weight")):
            sums = np.abs(weights).sum(axis=2)
            assert found.weights.l1[layer][:, at] == pytest.approx(sums, rel=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_slopes_of_prelu_start_where_its_name_says_and_move(backend: str) -> None:
    found = run(plan(activation="prelu(0.1)", record=Record(weights=1)), backend)
    assert found.weights is not None
    assert found.weights.slopes.shape == (3, 4, 2)
    assert found.weights.slopes[:, 0] == pytest.approx(0.1)
    assert (np.abs(found.weights.slopes[:, -1] - 0.1) > 1e-4).all()
    last = np.concatenate(found.network.tensors(found.last_parameters, "slope"), axis=1)
    assert found.weights.slopes[:, -1] == pytest.approx(last)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_first_step_that_is_not_finite_is_the_plain_loops(backend: str) -> None:
    loud = Data(x=rings().x * 50, y=rings().y * 3000, test_x=rings().x, test_y=rings().y)
    given = plan(
        activation="identity",
        network={"loss": "mse"},
        data=loud,
        optimiser=sgd(0.01, momentum=0.9),
        seeds=range(6),
    )
    found = run(given, backend)
    for member in range(6):
        losses = plain_training(given, member).losses
        first = next((k for k, loss in enumerate(losses) if not np.isfinite(loss)), None)
        assert first is not None
        # The parameters may have left the format one step before the loss does.
        assert found.first_non_finite[member] in {first, first + 1}
    assert not found.finite.any()
    assert np.isnan(found.losses.train_accuracy).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_epochs_are_the_first_the_last_and_the_multiples_between(backend: str) -> None:
    found = run(plan(epochs=7, record=Record(losses=3, weights=5, units=0)), backend)
    assert found.losses.epochs.tolist() == [0, 3, 6, 7]
    assert found.losses.train_loss.shape == (3, 4)
    assert found.weights is not None
    assert found.weights.epochs.tolist() == [0, 5, 7]
    assert found.units is None
    assert found.gradients is None
    assert found.steps is None
    ends = run(plan(epochs=7, record=Record(losses=0)), backend)
    assert ends.losses.epochs.tolist() == [0, 7]
    assert ends.losses.train_loss[:, -1] == pytest.approx(found.losses.train_loss[:, -1])


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_test_points_the_test_columns_are_nan(backend: str) -> None:
    data = rings()
    found = run(plan(data=Data(x=data.x, y=data.y)), backend)
    assert np.isnan(found.losses.test_loss).all()
    assert np.isnan(found.losses.test_accuracy).all()
    assert np.isfinite(found.losses.train_loss).all()
    assert not found.learns().any()


def test_a_history_tells_who_learns_when_and_what_moved() -> None:
    given = plan(epochs=60, seeds=range(8), record=Record(losses=5))
    found = run(given)
    over = found.first_epoch_over(0.75)
    for member, accuracies in enumerate(found.losses.test_accuracy):
        first = np.flatnonzero(accuracies > 0.75)
        epoch = found.losses.epochs[first[0]] if len(first) else np.nan
        assert over[member] == pytest.approx(epoch, nan_ok=True)
        assert found.learns(0.75)[member] == (accuracies[-1] > 0.75)
    assert found.learns(0.75).any()
    before = given.network.tensors(found.first_parameters, "weight")
    after = given.network.tensors(found.last_parameters, "weight")
    moved = [np.abs(b - a).sum((1, 2)) / np.abs(a).sum((1, 2)) for a, b in zip(before, after)]  # noqa: B905
    assert found.relative_change() == pytest.approx(np.stack(moved, 1), rel=1e-5)
    assert found.relative_change().shape == (8, 3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_all_can_be_recorded_of_a_network_without_hidden_layers(backend: str) -> None:
    everything = Record(losses=1, gradients=1, weights=1, units=1, steps=2)
    found = run(plan(widths=(2, 1), record=everything), backend)
    assert found.gradients is not None
    assert found.units is not None
    assert found.weights is not None
    assert found.gradients.signals.shape == (3, 4, 1)
    assert found.units.dead.shape == (3, 4, 0)
    assert [layer.shape for layer in found.weights.l1] == [(3, 4, 1)]
    assert found.weights.slopes.shape == (3, 4, 0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_epochs_leave_the_first_parameters(backend: str) -> None:
    found = run(plan(epochs=0, record=Record(losses=1, gradients=1, steps=5)), backend)
    assert (found.first_parameters == found.last_parameters).all()
    assert found.losses.epochs.tolist() == [0]
    assert found.steps is not None
    assert found.steps.loss.shape == (3, 0)
    assert found.finite.all()
    assert found.relative_change() == pytest.approx(np.zeros((3, 3)))


def test_histories_of_parts_join_to_that_of_the_whole() -> None:
    everything = Record(losses=1, gradients=1, weights=1, units=1, steps=2)
    whole = run(plan(seeds=range(9), activation="prelu", record=everything))
    parts = [
        run(plan(seeds=range(*ends), activation="prelu", record=everything))
        for ends in ((0, 4), (4, 9))
    ]
    joined = History.joined(parts)
    assert len(joined) == 9
    assert joined.seeds.tolist() == list(range(9))
    assert (joined.last_parameters == whole.last_parameters).all()
    assert joined.weights is not None
    assert whole.weights is not None
    assert (joined.weights.l1[1] == whole.weights.l1[1]).all()
    assert joined.losses.epochs.tolist() == whole.losses.epochs.tolist()


def test_u_0_1_weights_saturate_and_keep_one_direction() -> None:
    positive = Initialiser(hidden=uniform(0, 1))
    found = run(plan(widths=(2, 9, 9, 9, 1), initialiser=positive, record=Record(units=1)))
    centred = run(plan(widths=(2, 9, 9, 9, 1), record=Record(units=1)))
    assert found.units is not None
    assert centred.units is not None
    assert found.units.saturated[:, 0, -1].mean() > 0.5 > centred.units.saturated[:, 0].mean()
