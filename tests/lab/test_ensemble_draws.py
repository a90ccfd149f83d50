"""What initialisers draw: bounds and deviations against their papers and torch's own."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from headwater.errors import EnsembleError
from headwater.lab.ensemble import (
    Draw,
    Initialiser,
    Network,
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

WIDE = Network(widths=(300, 200, 1))

TORCH: dict[str, tuple[Draw, Callable[[torch.Tensor], object]]] = {
    "xavier uniform": (xavier_uniform(), nn.init.xavier_uniform_),
    "xavier uniform with a gain": (
        xavier_uniform(5 / 3),
        lambda w: nn.init.xavier_uniform_(w, gain=5 / 3),
    ),
    "xavier normal": (xavier_normal(), nn.init.xavier_normal_),
    "he uniform": (he_uniform(), lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu")),
    "he normal": (he_normal(), lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu")),
    "he normal, fan-out": (
        he_normal("out"),
        lambda w: nn.init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"),
    ),
    "lecun normal": (lecun_normal(), lambda w: nn.init.kaiming_normal_(w, nonlinearity="linear")),
    "lecun uniform": (
        lecun_uniform(),
        lambda w: nn.init.kaiming_uniform_(w, nonlinearity="linear"),
    ),
    "normal": (normal(0.3, mean=0.1), lambda w: nn.init.normal_(w, 0.1, 0.3)),
    "uniform": (uniform(-0.2, 0.7), lambda w: nn.init.uniform_(w, -0.2, 0.7)),
    "orthogonal": (orthogonal(1.5), lambda w: nn.init.orthogonal_(w, 1.5)),
}


@pytest.mark.parametrize("name", TORCH)
def test_a_draw_is_distributed_as_torchs(name: str) -> None:
    draw, theirs = TORCH[name]
    mine = WIDE.tensor(Initialiser(hidden=draw).draw(WIDE, seed=1), "weight", 0)
    torch.manual_seed(0)
    other = torch.empty(200, 300)
    theirs(other)
    for share in (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1):
        loose = 0.15 if share in {0, 1} else 0.03
        quantile = np.quantile(other.numpy(), share)
        assert np.quantile(mine, share) == pytest.approx(quantile, rel=loose, abs=0.003)
    assert mine.std() == pytest.approx(float(other.std()), rel=0.02)


def test_scaled_draws_have_the_variance_they_are_named_for() -> None:
    for draw in (scaled_normal(1.7), scaled_uniform(1.7)):
        weights = WIDE.tensor(Initialiser(hidden=draw).draw(WIDE, seed=0), "weight", 0)
        assert weights.std() * math.sqrt(300) == pytest.approx(1.7, rel=0.01)


def test_an_orthogonal_matrix_has_orthonormal_rows_or_columns() -> None:
    for widths in ((7, 4, 1), (4, 7, 1), (5, 5, 1)):
        network = Network(widths=widths, dtype="float64")
        drawn = Initialiser(hidden=orthogonal(2.0)).draw(network, seed=0)
        weights = network.tensor(drawn, "weight", 0)
        small = weights @ weights.T if widths[1] <= widths[0] else weights.T @ weights
        assert small == pytest.approx(4 * np.eye(len(small)), abs=1e-12)


def test_identity_matrices_are_cut_where_they_are_not_square() -> None:
    network = Network(widths=(2, 2, 3), activation="identity")
    drawn = Initialiser(hidden=identity(1.5)).draw(network, seed=0)
    assert network.tensor(drawn, "weight", 0).tolist() == [[1.5, 0], [0, 1.5]]
    assert network.tensor(drawn, "weight", 1).tolist() == [[1.5, 0], [0, 1.5], [0, 0]]


def test_torchs_default_draws_weights_and_biases_alike() -> None:
    drawn = torch_default().draw(WIDE, seed=0)
    bound = 1 / math.sqrt(300)
    for kind in ("weight", "bias"):
        part = np.abs(WIDE.tensor(drawn, kind, 0))  # type: ignore[arg-type]
        assert part.max() <= bound
        assert part.mean() == pytest.approx(bound / 2, rel=0.1)


def test_the_output_layer_and_the_biases_can_differ() -> None:
    network = Network(widths=(2, 3, 3, 2))
    drawn = Initialiser(
        hidden=constant(1.0), output=constant(2.0), bias=constant(3.0), output_bias=constant(4.0)
    ).draw(network, seed=0)
    weights, biases = network.tensors(drawn, "weight"), network.tensors(drawn, "bias")
    assert [set(part.ravel().tolist()) for part in weights] == [{1.0}, {1.0}, {2.0}]
    assert [set(part.ravel().tolist()) for part in biases] == [{3.0}, {3.0}, {4.0}]


def test_a_seed_decides_and_every_layer_gets_numbers_of_its_own() -> None:
    network = Network(widths=(5, 5, 5, 5))
    drawn = Initialiser(hidden=normal(1.0))
    assert (drawn.draw(network, 3) == drawn.draw(network, 3)).all()
    assert (drawn.draw(network, 3) != drawn.draw(network, 4)).any()
    layers = network.tensors(drawn.draw(network, 3), "weight")
    assert (layers[0] != layers[1]).all()


def test_a_deeper_network_begins_as_a_shallower_one() -> None:
    drawn = Initialiser(hidden=normal(1.0))
    shallow, deep = Network(widths=(2, 5, 5, 5)), Network(widths=(2, 5, 5, 5, 5))
    one, other = drawn.draw(shallow, 9), drawn.draw(deep, 9)
    assert (shallow.tensor(one, "weight", 1) == deep.tensor(other, "weight", 1)).all()


def test_a_rule_that_is_not_known_is_refused() -> None:
    with pytest.raises(EnsembleError, match="a draw's rule got 'cauchy'"):
        Initialiser(hidden=Draw(rule="cauchy", first=1.0)).draw(WIDE, 0)  # type: ignore[arg-type]
