"""A member is the same in any company: alone, in any block, beside the dead."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
from plans import DRAWN, plan, rings

from headwater.lab import division
from headwater.lab.ensemble import (
    Data,
    History,
    Initialiser,
    Record,
    Resources,
    constant,
    he_uniform,
    sgd,
    train,
    uniform,
)
from headwater.lab.memory import STACKED, recorded_bytes, stacked_member_bytes
from headwater.lab.training import Plan

ALL = Record(losses=1, gradients=1, weights=1, units=1, steps=4)
KINDS = [
    {},
    {"activation": "prelu"},
    {"activation": "rrelu"},
    {"activation": "relu", "network": {"batch_norm": True}},
    {"network": {"dtype": "float64"}},
]


def run(given: Plan, **resources: Any) -> History:
    return train(
        given.network,
        given.members,
        given.data,
        given.training,
        record=given.record,
        resources=Resources(**resources),
    )


def arrays(history: Any, path: str = "") -> dict[str, np.ndarray]:
    """Return all arrays of a history by name, those with members in front only."""
    found: dict[str, np.ndarray] = {}
    for field in fields(history):
        value = getattr(history, field.name)
        if is_dataclass(value) and field.name != "network":
            found |= arrays(value, f"{path}{field.name}.")
        elif isinstance(value, tuple):
            found |= {f"{path}{field.name}{k}": layer for k, layer in enumerate(value)}
        elif isinstance(value, np.ndarray) and field.name != "epochs":
            found[path + field.name] = value
    return found


def assert_same(one: History, other: History, rows: Any = slice(None)) -> None:
    theirs = arrays(other)
    mine = arrays(one)
    assert mine.keys() == theirs.keys()
    assert len(mine) > 15
    for name, values in mine.items():
        assert values[rows].tobytes() == np.ascontiguousarray(theirs[name]).tobytes(), name


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_member_of_forty_is_bit_for_bit_who_it_is_alone(kind: dict[str, Any]) -> None:
    together = run(plan(seeds=range(40), record=ALL, **kind), backend="kernel")
    for member in (0, 15, 16, 39):
        alone = run(plan(seeds=[member], record=ALL, **kind), backend="kernel")
        assert_same(together, alone, slice(member, member + 1))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_number_of_threads_changes_no_bit(kind: dict[str, Any]) -> None:
    given = plan(seeds=range(50), record=ALL, **kind)
    assert_same(run(given, backend="kernel", threads=1), run(given, backend="kernel", threads=3))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_small_blocks_of_the_stacked_backend_change_no_bit(kind: dict[str, Any]) -> None:
    given = plan(seeds=range(70), record=ALL, epochs=1, **kind)
    little = recorded_bytes(given) + STACKED * stacked_member_bytes(given)
    parts = division.divide(given, Resources(backend="stacked", memory_bytes=little))
    assert (parts.members, parts.at_once) == (STACKED, 1)
    assert_same(run(given, backend="stacked"), run(given, backend="stacked", memory_bytes=little))


@pytest.mark.parametrize("backend", ["kernel", "stacked"])
def test_a_dead_member_harms_no_other(backend: str) -> None:
    given = plan(seeds=range(5), record=ALL, activation="relu")
    parameters = given.members.first_parameters(given.network)
    parameters[2] = np.nan
    sick = plan(seeds=range(5), record=ALL, activation="relu", parameters=parameters)
    exploding = plan(
        seeds=range(5), record=ALL, activation="relu", learning_rate=[0.1, 0.1, 1e30, 0.1, 0.1]
    )
    sound = run(given, backend=backend)
    for other in (run(sick, backend=backend), run(exploding, backend=backend)):
        assert other.first_non_finite[2] > 0
        assert other.finite.tolist() == [True, True, False, True, True]
        assert np.isnan(other.losses.train_accuracy[2, -1])
        for name, values in arrays(sound).items():
            if name != "learning_rates":
                kept = arrays(other)[name]
                for member in (0, 1, 3, 4):
                    assert values[member].tobytes() == kept[member].tobytes(), (name, member)


def test_equal_seeds_are_paired_whatever_else_differs() -> None:
    given = plan(seeds=[5, 5, 6], learning_rate=[0.1, 0.2, 0.1], record=ALL)
    found = run(given, backend="kernel")
    assert (found.first_parameters[0] == found.first_parameters[1]).all()
    assert found.steps is not None
    assert found.steps.loss[0, 0] == found.steps.loss[1, 0]
    assert found.steps.loss[0, 1] != found.steps.loss[1, 1]
    assert found.steps.loss[0, 0] != found.steps.loss[2, 0]


def test_each_member_can_have_an_initialiser_of_its_own() -> None:
    mixed = [Initialiser(hidden=uniform(0, 1)), DRAWN, Initialiser(hidden=he_uniform())]
    found = run(plan(initialiser=mixed, seeds=[1, 1, 1]), backend="kernel")
    for member, one in enumerate(mixed):
        alone = run(plan(initialiser=one, seeds=[1]), backend="kernel")
        assert (found.last_parameters[member] == alone.last_parameters[0]).all()


def test_members_with_data_of_their_own_keep_it_in_any_block() -> None:
    sets = [rings(seed=seed) for seed in range(20)]
    names = ("x", "y", "test_x", "test_y")
    own = Data(**{name: np.stack([getattr(each, name) for each in sets]) for name in names})
    together = run(plan(seeds=range(20), data=own, record=ALL), backend="kernel")
    for member in (3, 17):
        alone = run(plan(seeds=[member], data=sets[member], record=ALL), backend="kernel")
        assert_same(together, alone, slice(member, member + 1))


@pytest.mark.parametrize("backend", ["kernel", "stacked"])
def test_what_is_recorded_changes_nothing_of_the_training(backend: str) -> None:
    for kind in KINDS:
        silent = run(plan(record=Record(losses=0), **kind), backend=backend)
        talking = run(plan(record=ALL, **kind), backend=backend)
        assert silent.last_parameters.tobytes() == talking.last_parameters.tobytes()


def test_a_training_in_two_parts_begins_where_it_is_told() -> None:
    whole = plan(epochs=0)
    first = run(replace(whole, training=replace(whole.training, epochs=2)), backend="kernel")
    again = run(plan(parameters=first.last_parameters, epochs=0), backend="kernel")
    assert (again.last_parameters == first.last_parameters).all()
    assert again.losses.train_loss[:, 0] == pytest.approx(first.losses.train_loss[:, -1])


def test_a_constant_network_stays_constant_and_its_loss_is_chance() -> None:
    still = plan(initialiser=Initialiser(hidden=constant(0.0)), optimiser=sgd(0.0), epochs=1)
    found = run(still, backend="kernel")
    assert found.losses.train_loss == pytest.approx(np.log(2))
