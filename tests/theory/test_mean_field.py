"""Mean field: laws that hold for all activations, whatever the numbers."""

from __future__ import annotations

import math
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.errors import NotCoveredError
from headwater.theory.catalogue import CATALOGUE, find_activation
from headwater.theory.correlation import correlation_map, settle_correlation
from headwater.theory.criticality import critical_line, critical_points, half_stable_points
from headwater.theory.initialisation import gain
from headwater.theory.meanfield import chi_1, chi_parallel, settle, trajectory, variance_map
from headwater.theory.residual import batch_norm_factor, layer_norm_factor

NAMES = [name if name != "rrelu" else "rrelu(train)" for name in CATALOGUE]
SMOOTH = [name for name in NAMES if name != "sin"]
weights = st.floats(1e-3, 30)
biases = st.floats(0, 5)
variances = st.floats(1e-6, 1e6)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25)
@given(q=variances, factor=st.floats(1.01, 10), weight=weights)
def test_the_variance_map_is_monotone(name: str, q: float, factor: float, weight: float) -> None:
    lower, higher = variance_map(name, q, weight), variance_map(name, factor * q, weight)
    assert higher >= lower * (1 - 1e-12)


@pytest.mark.parametrize("name", SMOOTH)
@settings(max_examples=8)
@given(weight=weights, bias=biases)
def test_where_it_settles_it_stays(name: str, weight: float, bias: float) -> None:
    point = settle(name, weight, bias)
    assert math.isfinite(point.chi_1)
    assert not math.isnan(point.gradient_depth)
    if point.fate == "finite":
        again = variance_map(name, point.variance, weight, bias)
        assert again == pytest.approx(point.variance, rel=1e-9)
        assert point.chi_parallel <= 1 + 1e-6


@pytest.mark.parametrize("name", SMOOTH)
def test_a_long_walk_ends_where_it_settles(name: str) -> None:
    weight, bias = 0.7, 0.2
    point = settle(name, weight, bias)
    walked = next(islice(trajectory(name, weight, bias), 400, None))
    if point.fate == "finite":
        assert walked[0] == pytest.approx(point.variance, rel=1e-6)
        assert walked[1] == pytest.approx(point.chi_1, rel=1e-6)
    else:
        assert walked[0] > 1e6


@given(weight=weights, q=variances)
def test_rectifiers_do_not_know_the_scale(weight: float, q: float) -> None:
    assert chi_1("relu", q, weight) == chi_1("relu", 1.0, weight)
    assert variance_map("relu", 4 * q, weight) == pytest.approx(4 * variance_map("relu", q, weight))


@given(q=variances)
def test_points_of_the_critical_line_are_critical(q: float) -> None:
    point = critical_line("tanh", q)
    assert chi_1("tanh", q, point.weight_variance) == pytest.approx(1, rel=1e-12)
    back = variance_map("tanh", q, point.weight_variance, point.bias_variance)
    assert back == pytest.approx(q, rel=1e-12)


@pytest.mark.parametrize("name", SMOOTH)
def test_critical_points_settle_as_critical_where_they_hold(name: str) -> None:
    for point in critical_points(name, 0.0):
        if point.stable and point.variance > 0 and point.chi_parallel < 0.99:
            settled = settle(name, point.weight_variance, 0.0, start=point.variance * 1.05)
            assert settled.phase == "critical"
            assert settled.variance == pytest.approx(point.variance, rel=1e-6)


@pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "silu", "mish", "hardswish"])
def test_at_a_half_stable_point_both_factors_are_one(name: str) -> None:
    (point,) = half_stable_points(name)
    assert chi_1(name, point.variance, point.weight_variance) == pytest.approx(1, rel=1e-10)
    assert chi_parallel(name, point.variance, point.weight_variance) == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_batch_norm_never_shrinks_a_gradient(name: str) -> None:
    assert batch_norm_factor(name) >= 1 - 1e-12
    assert layer_norm_factor(name) <= batch_norm_factor(name) * (1 + 1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_the_three_gains_are_what_they_say(name: str) -> None:
    try:
        assert chi_1(name, 1.0, gain(name) ** 2) == pytest.approx(1, rel=1e-12)
        forward = gain(name, keeps="signal", variance=2.0) ** 2
        assert variance_map(name, 2.0, forward) == pytest.approx(2, rel=1e-12)
        assert gain(name, keeps="spread") >= gain(name, keeps="signal") * (1 - 1e-12)
    except NotCoveredError:
        pytest.fail(f"{name} has all three at variance 1")


def test_a_gain_is_torchs_where_torch_has_the_same_idea() -> None:
    import torch

    for name, param in (("relu", None), ("leaky_relu", 0.3), ("linear", None)):
        assert gain(name, param) == pytest.approx(torch.nn.init.calculate_gain(name, param))


@settings(max_examples=12)
@given(weight=st.floats(0.2, 4.0), bias=st.floats(0.0, 1.0))
def test_inputs_become_one_exactly_where_gradients_do_not_explode(
    weight: float, bias: float
) -> None:
    point, pair = settle("tanh", weight, bias), settle_correlation("tanh", weight, bias)
    if abs(point.chi_1 - 1) > 1e-3:
        assert (pair.correlation == 1) == (point.phase != "chaotic")
        assert 0 <= pair.slope <= 1 + 1e-9


@settings(max_examples=12)
@given(c=st.floats(-1, 1))
def test_odd_activations_have_an_odd_correlation_map(c: float) -> None:
    q = settle("erf", 2.0).variance
    there = correlation_map("erf", c, q, 2.0)
    assert correlation_map("erf", -c, q, 2.0) == pytest.approx(-there, abs=1e-9)
    # Williams' kernel: (2/pi) asin(2qc / (1 + 2q)).
    want = 2.0 * 2 / math.pi * math.asin(2 * q * c / (1 + 2 * q)) / q
    assert there == pytest.approx(want, abs=1e-9)


def test_negative_variances_are_refused() -> None:
    with pytest.raises(ValueError, match="weight_variance must be at least 0, got -1"):
        settle("tanh", -1.0)


def test_there_is_no_map_where_the_variance_runs_away() -> None:
    with pytest.raises(ValueError, match="runs to infinity; take smaller weights"):
        settle_correlation("relu", 3.0)
    assert find_activation("relu").homogeneous
