"""Means under a Gaussian: exact where known, honest about their error, refused where infinite."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import DivergentIntegralError
from headwater.theory.correlation import product_mean
from headwater.theory.gaussian import expect, mean_over, quadrature

variances = st.floats(1e-8, 1e8)


@given(q=variances, k=st.integers(0, 6))
def test_even_powers_are_double_factorials(q: float, k: int) -> None:
    want = q**k * math.prod(range(1, 2 * k, 2))
    assert expect(lambda x: x ** (2 * k), q).value == pytest.approx(want, rel=1e-13)
    assert mean_over(lambda x: x ** (2 * k), q) == pytest.approx(want, rel=1e-13)


@given(q=st.floats(1e-8, 1e3), rate=st.floats(0.1, 1.0))
def test_the_error_estimate_covers_the_error(q: float, rate: float) -> None:
    found = expect(lambda x: np.cos(rate * x), q)
    assert abs(found.value - math.exp(-(rate**2) * q / 2)) <= found.error + 1e-15


@given(q=variances, place=st.floats(-3, 3))
def test_a_kink_that_nobody_named_is_found(q: float, place: float) -> None:
    kink = place * math.sqrt(q)
    named = expect(lambda x: np.abs(x - kink), q, kinks=(kink,)).value
    assert expect(lambda x: np.abs(x - kink), q).value == pytest.approx(named, rel=1e-9)


def test_growth_that_a_gaussian_holds_is_integrated() -> None:
    assert expect(np.exp, 100.0).value == pytest.approx(math.exp(50), rel=1e-12)


@pytest.mark.parametrize("variance", [1.0, 4.0])
def test_what_diverges_is_refused(variance: float) -> None:
    with pytest.raises(DivergentIntegralError, match="take a smaller variance"):
        expect(lambda x: np.exp(0.6 * x * x), variance)


def test_gauss_hermite_is_not_good_enough_and_this_is() -> None:
    nodes, weights = np.polynomial.hermite_e.hermegauss(25)
    slope2 = lambda x: np.cosh(np.minimum(np.abs(x), 300)) ** -4.0  # noqa: E731
    hermite = float(weights @ slope2(math.sqrt(46) * nodes)) / math.sqrt(2 * math.pi)
    exact = expect(slope2, 46.0)
    assert hermite > 3 * exact.value
    assert mean_over(slope2, 46.0) == pytest.approx(exact.value, rel=1e-13)


def test_a_negative_variance_is_refused() -> None:
    with pytest.raises(ValueError, match="variance must be finite and at least 0, got -1"):
        expect(np.abs, -1)


@given(c=st.floats(-0.999999, 0.999999), q=st.floats(1e-4, 1e4))
def test_products_of_straight_lines_are_covariances(c: float, q: float) -> None:
    assert product_mean(lambda x: x, q, c) == pytest.approx(c * q, rel=1e-11, abs=1e-12 * q)


@pytest.mark.parametrize("c", [-0.9999, -0.3, 1e-4, 0.5, 0.99, 0.999999])
@pytest.mark.parametrize("q", [1e-4, 1.0, 1e4])
def test_products_of_rectifiers_are_arc_cosines(c: float, q: float) -> None:
    got = product_mean(lambda x: np.maximum(x, 0.0), q, c, (0.0,))
    want = q / (2 * math.pi) * (math.sqrt(1 - c * c) + (math.pi - math.acos(c)) * c)
    assert got == pytest.approx(want, rel=1e-10, abs=1e-13 * q)


@pytest.mark.parametrize("c", [-0.9, 0.2, 0.999])
def test_products_of_steps_are_orthants(c: float) -> None:
    got = product_mean(lambda x: (x > 0) * 1.0, 2.0, c, (0.0,))
    assert got == pytest.approx(0.25 + math.asin(c) / (2 * math.pi), rel=1e-10)


def test_weights_sum_to_one_at_every_scale() -> None:
    for deviation in (1e-20, 1e-4, 1.0, 1e4, 1e12):
        _, weights = quadrature(deviation, (0.0, 6.0))
        assert float(weights.sum()) == pytest.approx(1, rel=1e-13)
