"""The calculus of layers: laws without a network, and what it refuses."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import NotCoveredError
from headwater.theory.calculus import forecast
from headwater.theory.fluctuation import Band, layer, relu_layer
from headwater.theory.initialisation import gain
from headwater.theory.layers import (
    Activate,
    AveragePool,
    BatchNorm,
    Convolution,
    Dense,
    Dropout,
    LayerNorm,
    MaxPool,
    NotCovered,
    Residual,
    RMSNorm,
    taps_inside,
)
from headwater.theory.meanfield import log10_gradient_ratio
from headwater.theory.residual import batch_norm_factor, layer_norm_factor, residual_growth
from headwater.theory.sampling import sampled_bands

RELU = Activate(activation="relu")
HE = Dense(weight_variance=2.0)


def decades(*layers: object) -> float:
    return sum(line.decades for line in forecast(layers))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "gelu", "selu"])
def test_a_plain_network_is_mean_fields(name: str) -> None:
    dense = Dense(weight_variance=1.5, bias_variance=0.1)
    got = decades(dense, *[Activate(activation=name), dense] * 20)
    want = log10_gradient_ratio(name, 1.5, 0.1, start=1.6, depth=21)
    assert got - math.log10(1.5) / 2 == pytest.approx(want, rel=1e-10)


def test_he_relu_keeps_both_whatever_the_depth() -> None:
    table = forecast([HE, *[RELU, HE] * 100], mean_square=3.0)
    assert table[-1].mean_square == pytest.approx(6.0)
    assert table[1].gradient is not None
    assert table[1].gradient.mean == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("scale", [0.3, 1.0, 7.0])
def test_norms_forget_the_weights_scale(name: str, scale: float) -> None:
    activate = Activate(activation=name)
    for norm, factor in ((BatchNorm(), batch_norm_factor), (LayerNorm(), layer_norm_factor)):
        block = (Dense(weight_variance=scale), norm, activate)
        one, two = decades(*block * 3), decades(*block * 4)
        if isinstance(norm, LayerNorm) or name == "tanh":  # else samples do not stay apart
            assert two - one == pytest.approx(math.log10(factor(name)) / 2, rel=1e-9)


def test_batch_norm_of_relu_explodes_as_published() -> None:
    block = (Dense(weight_variance=1.0), BatchNorm(), RELU)
    factor = 10 ** (decades(*block * 6) - decades(*block * 5))
    assert factor == pytest.approx(math.sqrt(math.pi / (math.pi - 1)), rel=1e-9)


def test_a_residual_stack_grows_as_its_closed_form() -> None:
    block = Residual(branch=(RELU, HE), branch_scale=0.3, skip_scale=0.9)
    got = 2 * decades(HE, *[block] * 30) - math.log10(2)
    want = math.log10(residual_growth(30, branch_scale=0.3, skip_scale=0.9))
    assert got == pytest.approx(want, rel=1e-10)


def test_an_empty_branch_scale_is_the_identity() -> None:
    (_, line) = forecast([HE, Residual(branch=(RELU, HE), branch_scale=0.0)])
    assert line.decades == 0
    assert line.mean_square == 2.0


@given(rate=st.floats(0, 0.9))
def test_dropout_lifts_both_alike(rate: float) -> None:
    (line,) = forecast([Dropout(rate=rate)])
    assert line.mean_square == pytest.approx(1 / (1 - rate))
    assert 10 ** (2 * line.decades) == pytest.approx(1 / (1 - rate))


def test_average_pooling_is_exact_at_both_ends() -> None:
    flat = AveragePool(window=4, correlation=1.0)
    apart = AveragePool(window=4, correlation=0.0)
    dense = Dense(weight_variance=1.0)
    assert forecast([dense, flat])[-1].mean_square == pytest.approx(1.0)
    assert forecast([dense, apart])[-1].mean_square == pytest.approx(0.25)
    assert forecast([dense, apart])[-1].decades == pytest.approx(math.log10(0.25) / 2)


def test_the_largest_of_two_gaussians_is_known() -> None:
    line = forecast([Dense(weight_variance=1.0), MaxPool(window=2)])[-1]
    assert line.mean_square == pytest.approx(1.0)
    assert line.variance == pytest.approx(1 - 1 / math.pi)


def test_zero_padding_weakens_a_small_image() -> None:
    share = taps_inside(8, 3) ** 2
    line = forecast([Convolution(weight_variance=2.0, inside=share)])[-1]
    assert line.mean_square == pytest.approx(2 * share)
    assert "zero padding" in line.notes[0]


def test_what_is_not_covered_ends_the_forecast_and_says_why() -> None:
    table = forecast(
        [HE, RELU, NotCovered(name="attention", why="its weights depend on its input")]
    )
    assert [line.name for line in table] == ["dense", "relu", "attention"]
    assert table[-1].notes == ("not covered: its weights depend on its input",)
    assert table[0].gradient is None
    inside = forecast([HE, Residual(branch=(NotCovered(name="odd"),))])
    assert inside[-1].name == "odd"


def test_an_activation_after_an_activation_is_refused() -> None:
    with pytest.raises(NotCoveredError, match="its input is not Gaussian"):
        forecast([HE, RELU, RELU])
    with pytest.raises(TypeError, match=r"a layer is one of headwater\.theory\.layers"):
        forecast(["relu"])  # type: ignore[list-item]


@given(width=st.integers(8, 4096), depth=st.integers(2, 60))
def test_bands_widen_with_depth_over_width(width: int, depth: int) -> None:
    block = (Dense(weight_variance=2.0, width=width), Activate(activation="relu", width=width))
    band = forecast(block * depth)[0].gradient
    assert band is not None
    # Leading order of the exact law: 5/n a layer, in natural logarithms of the square.
    want = math.sqrt(5 * depth / width) / 2 / math.log(10)
    assert band.deviation == pytest.approx(want, rel=1e-9)


def test_leading_order_becomes_the_exact_law_with_width() -> None:
    for width in (200, 2000):
        exact = relu_layer(width)
        assert exact.variance == pytest.approx(5 / width, rel=20 / width)
        assert exact.mean == pytest.approx(-2.5 / width, rel=20 / width)
    assert layer("relu", 1.0, 50) == relu_layer(50)


def test_a_norm_pins_what_followed_the_mean_square() -> None:
    free = (Dense(weight_variance=2.0, width=64), Activate(activation="relu", width=64))
    normed = (free[0], RMSNorm(), free[1])
    doubts = [forecast(block * 20)[-1].mean_square_band.deviation for block in (free, normed)]
    assert doubts[1] < doubts[0] / 4


def test_a_band_holds_its_own_middle() -> None:
    band = Band(mean=1.0, deviation=0.1)
    assert 1.0 in band
    assert 1.3 not in band


@pytest.mark.parametrize("name", ["relu", "tanh", "selu"])
def test_sampled_bands_are_the_calculus_where_deviations_stay_small(name: str) -> None:
    dense, activate = Dense(weight_variance=1.5, width=4096), Activate(activation=name, width=4096)
    layers = (dense, *(activate, dense) * 20)
    for sampled, line in zip(sampled_bands(layers), forecast(layers), strict=True):
        assert line.gradient is not None
        assert sampled.mean == pytest.approx(line.gradient.mean, abs=0.01)
        assert sampled.deviation == pytest.approx(line.gradient.deviation, rel=0.1)


def test_a_collapse_that_some_draws_meet_is_in_the_sampled_band_only() -> None:
    weight = gain("gelu") ** 2
    dense, activate = (
        Dense(weight_variance=weight, width=256),
        Activate(activation="gelu", width=256),
    )
    layers = (dense, *(activate, dense) * 49)
    calculus, sampled = forecast(layers)[1].gradient, sampled_bands(layers)[1]
    assert calculus is not None
    assert sampled.low < calculus.low - 2
    with pytest.raises(NotCoveredError, match="chains are drawn of plain networks only"):
        sampled_bands([HE, LayerNorm()])
