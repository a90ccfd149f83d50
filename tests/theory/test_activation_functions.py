"""The catalogue: derivatives, closed forms, kinks and torch's own functions agree."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from headwater.errors import UnknownActivationError, UsageError
from headwater.theory.activations import Activation, _integrand, flattest, moment, steepest
from headwater.theory.catalogue import ALIASES, CATALOGUE, find_activation
from headwater.theory.gaussian import expect, mean_over
from headwater.theory.user import find_kinks, from_function

NAMES = [name if name != "rrelu" else "rrelu(eval)" for name in CATALOGUE]
EVERY = [find_activation(name) for name in NAMES]
QUIET = [phi for phi in EVERY if phi.name != "sin"]  # sine turns too often for a fixed rule
TORCH = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softsign": functional.softsign,
    "hardtanh": functional.hardtanh,
    "hardsigmoid": functional.hardsigmoid,
    "relu": functional.relu,
    "leaky_relu": functional.leaky_relu,
    "relu6": functional.relu6,
    "elu": functional.elu,
    "selu": functional.selu,
    "celu": functional.celu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "mish": functional.mish,
    "hardswish": functional.hardswish,
    "softplus": lambda x: functional.softplus(x, threshold=700),
    "logsigmoid": functional.logsigmoid,
    "tanhshrink": functional.tanhshrink,
    "sin": torch.sin,
    "erf": torch.erf,
}

numbers = st.floats(-1e6, 1e6)


def ids(phi: Activation) -> str:
    return phi.name


@pytest.mark.parametrize("name", TORCH)
def test_function_and_derivative_are_torchs_also_at_the_kinks(name: str) -> None:
    phi = find_activation(name)
    grid = np.unique([*np.linspace(-12, 12, 481), *phi.kinks, -800.0, -60.0, 60.0, 800.0])
    x = torch.tensor(grid, requires_grad=True)
    y = TORCH[name](x)
    y.sum().backward()
    np.testing.assert_allclose(phi.function(grid), y.detach().numpy(), rtol=1e-13, atol=1e-14)
    # torch's hard sigmoid has a sixth in single precision, whatever the format.
    np.testing.assert_allclose(phi.derivative(grid), x.grad.numpy(), rtol=4e-8, atol=1e-14)


def test_tanh_is_a_sigmoid_of_another_scale() -> None:
    x = np.linspace(-15, 15, 301)
    sigmoid, tanh = find_activation("sigmoid"), find_activation("tanh")
    np.testing.assert_allclose(tanh.function(x), 2 * sigmoid.function(2 * x) - 1, atol=1e-15)
    np.testing.assert_allclose(tanh.derivative(x), 4 * sigmoid.derivative(2 * x), rtol=1e-12)


def test_the_sigmoid_turns_a_logit_back_into_its_probability() -> None:
    p = np.linspace(0.01, 0.99, 99)
    np.testing.assert_allclose(find_activation("sigmoid").function(np.log(p / (1 - p))), p)


@pytest.mark.parametrize("phi", QUIET, ids=ids)
@pytest.mark.parametrize("q", [1e-8, 1e-3, 1.0, 46.0, 1e4, 1e8])
def test_moments_agree_with_the_adaptive_rule(phi: Activation, q: float) -> None:
    for which in ("mean", "square", "fourth", "slope", "slope2", "slope4", "both"):
        integrand = _integrand(phi, which, q)
        exact = expect(integrand, q, kinks=phi.kinks, scale=phi.scale)
        size = expect(lambda x, f=integrand: np.abs(f(x)), q, kinks=phi.kinks).value
        quick = mean_over(integrand, q, phi.kinks, phi.scale)
        assert abs(quick - exact.value) <= 1e-12 * size + 1e-300, which
        assert abs(moment(phi, which, q) - exact.value) <= 1e-12 * size + 1e-300, which


@pytest.mark.parametrize("phi", EVERY, ids=ids)
def test_tilt_is_the_slope_of_the_square(phi: Activation) -> None:
    step = 1e-4
    rise = moment(phi, "square", 1 + step) - moment(phi, "square", 1 - step)
    assert moment(phi, "tilt", 1.0) == pytest.approx(rise / (2 * step), rel=1e-6)


@pytest.mark.parametrize("phi", EVERY, ids=ids)
@given(x=numbers)
def test_no_derivative_is_outside_its_extremes_or_nan(phi: Activation, x: float) -> None:
    slope = float(phi.derivative(np.array([x]))[0])
    assert flattest(phi)[0] - 1e-9 <= slope
    assert abs(slope) <= steepest(phi)[0] + 1e-9
    assert math.isfinite(float(phi.function(np.array([x]))[0]))


@pytest.mark.parametrize("phi", [phi for phi in EVERY if phi.homogeneous], ids=ids)
@given(x=numbers, factor=st.floats(1e-3, 1e3))
def test_homogeneous_ones_are(phi: Activation, x: float, factor: float) -> None:
    scaled = phi.function(np.array([factor * x]))
    np.testing.assert_allclose(scaled, factor * phi.function(np.array([x])), rtol=1e-12)


def test_every_entry_says_where_it_comes_from_and_what_happens_at_its_kinks() -> None:
    for phi in EVERY:
        assert phi.source
        assert phi.formula
        assert bool(phi.kinks) == bool(phi.at_kinks), phi.name
    assert set(ALIASES.values()) <= set(CATALOGUE)


def test_a_wrong_name_is_told_the_nearest() -> None:
    with pytest.raises(UnknownActivationError, match=r"nearest: .*'gelu'"):
        find_activation("gellu")
    with pytest.raises(UsageError, match=r"leaky_relu got \(1, 2\).*it takes slope"):
        find_activation("leaky_relu(1, 2)")


def test_training_and_evaluation_moments_of_rrelu_differ() -> None:
    train, evaluation = find_activation("rrelu(train)"), find_activation("rrelu(eval)")
    assert moment(train, "mean", 1.0) == moment(evaluation, "mean", 1.0)
    assert moment(train, "square", 1.0) > moment(evaluation, "square", 1.0)
    slopes = np.random.default_rng(0).uniform(1 / 8, 1 / 3, 400_000)
    assert moment(train, "slope4", 1.0) == pytest.approx((1 + np.mean(slopes**4)) / 2, rel=1e-3)


@pytest.mark.parametrize("name", ["relu6", "hardswish", "elu(0.5)", "gelu", "tanh", "hardtanh"])
def test_a_function_of_ones_own_gets_the_catalogues_moments(name: str) -> None:
    phi = find_activation(name)
    own = from_function(phi.function)
    smooth = {kink for kink in phi.kinks if "second" not in phi.at_kinks}
    assert own.kinks == tuple(sorted(smooth))
    for which in ("square", "slope", "slope2", "slope4", "tilt"):
        assert moment(own, which, 1.7) == pytest.approx(moment(phi, which, 1.7), rel=1e-9)


def test_a_function_of_tensors_will_do() -> None:
    own = from_function(lambda x: torch.where(x > 0.5, x, torch.sin(x) / 4), name="odd")
    assert len(own.kinks) == 1
    assert own.kinks[0] == pytest.approx(0.5, abs=1e-6)
    assert isinstance(moment(own, "slope2", 1.0), float)


def test_what_is_not_elementwise_is_refused() -> None:
    with pytest.raises(UsageError, match="softmax is not an elementwise function"):
        from_function(lambda x: x.mean(), name="softmax")


def test_kinks_are_found_where_they_are() -> None:
    assert find_kinks(lambda x: np.abs(x - 1 / 3)) == pytest.approx((1 / 3,), abs=1e-6)
    assert find_kinks(np.sin) == ()


def test_a_fast_function_is_resolved() -> None:
    own = from_function(lambda x: np.sin(30 * x), name="fast")
    assert moment(own, "square", 1.0) == pytest.approx((1 - math.exp(-1800)) / 2, rel=1e-11)
