"""Number formats: what is emulated is what torch computes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import UsageError
from headwater.theory import thresholds
from headwater.theory.precision import (
    FORMATS,
    depth_limit,
    explain_limit,
    first_subnormal_depth,
    first_zero_depth,
    last_finite_depth,
    number_format,
    powers,
)

TYPES = {name: getattr(torch, name) for name in FORMATS}
BITS = {"float16": torch.int16, "bfloat16": torch.int16, "float32": torch.int32}


@pytest.mark.parametrize("name", FORMATS)
def test_limits_are_torchs(name: str) -> None:
    form, info = FORMATS[name], torch.finfo(TYPES[name])
    assert (form.largest, form.smallest_normal) == (info.max, info.smallest_normal)
    assert form.epsilon == info.eps
    assert form.smallest == float(
        torch.nextafter(torch.zeros((), dtype=TYPES[name]), torch.ones((), dtype=TYPES[name]))
    )


@pytest.mark.parametrize("name", FORMATS)
@given(value=st.floats(allow_nan=False))
def test_rounding_is_torchs(name: str, value: float) -> None:
    want = float(torch.tensor(value, dtype=torch.float64).to(TYPES[name]))
    assert FORMATS[name].round(value) == want


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("factor", [0.25, 0.5, 0.7, 0.9, 1.1, 1.5, 3.0])
def test_powers_are_torchs_layer_by_layer(name: str, factor: float) -> None:
    weight, x = torch.tensor(factor, dtype=TYPES[name]), torch.ones((), dtype=TYPES[name])
    for depth in range(1, 60):
        x = x * weight
        assert powers(factor, name)(depth) == float(x)


@pytest.mark.parametrize("factor", [0.25, 0.5, 0.9, 1.1, 3.0])
@pytest.mark.parametrize("name", FORMATS)
def test_the_ends_are_where_the_powers_say(name: str, factor: float) -> None:
    at = powers(factor, name)
    if (last := last_finite_depth(factor, name)) is not None:
        assert math.isfinite(at(last))
        assert math.isinf(at(last + 1))
    if (zero := first_zero_depth(factor, name)) is not None:
        assert at(zero - 1) > 0 == at(zero)
    if (subnormal := first_subnormal_depth(factor, name)) is not None:
        assert at(subnormal) < FORMATS[name].smallest_normal <= at(subnormal - 1)


@pytest.mark.parametrize("name", FORMATS)
def test_thresholds_are_torchs_to_the_last_bit(name: str) -> None:
    def first(function, at: float, away: float, value: float) -> None:  # type: ignore[no-untyped-def]
        x = torch.tensor([at], dtype=TYPES[name])
        before = torch.nextafter(x, torch.tensor([away], dtype=TYPES[name]))
        assert float(function(x)) == value
        assert float(function(before)) != value

    first(torch.exp, thresholds.exp_overflows_at(name), 0.0, math.inf)
    first(torch.exp, thresholds.exp_vanishes_at(name), 0.0, 0.0)
    first(torch.sigmoid, thresholds.sigmoid_saturates_at(name), 0.0, 1.0)
    first(torch.sigmoid, thresholds.sigmoid_vanishes_at(name), 0.0, 0.0)
    if name in {"float16", "bfloat16"}:
        first(torch.tanh, thresholds.tanh_saturates_at(name), 0.0, 1.0)
    else:
        at = thresholds.tanh_saturates_at(name)
        beyond = torch.tensor([at * (1 + 1e-5)], dtype=TYPES[name])
        assert float(torch.tanh(beyond)) == 1.0
        assert float(torch.tanh(beyond * (1 - 2e-5))) < 1.0


@pytest.mark.parametrize("name", FORMATS)
def test_a_naive_softmax_is_nan_where_said_and_a_stable_one_is_not(name: str) -> None:
    logits = torch.tensor([thresholds.exp_overflows_at(name), 0.0], dtype=TYPES[name])
    naive = logits.exp() / logits.exp().sum()
    assert bool(naive.isnan().any())
    assert bool(torch.softmax(logits, 0).isfinite().all())
    gap = torch.tensor([0.0, thresholds.exp_vanishes_at(name)], dtype=TYPES[name])
    assert bool(torch.softmax(gap, 0).log().isinf().any())
    assert bool(torch.log_softmax(gap, 0).isfinite().all())


@given(factor=st.floats(0.01, 0.9), start=st.floats(1e-3, 1e3))
def test_the_limit_by_logarithms_is_the_first_that_rounds_to_zero(
    factor: float, start: float
) -> None:
    fate, depth = depth_limit(factor, "float16", start)
    assert fate == "underflow"
    assert depth is not None
    edge = FORMATS["float16"].smallest / 2
    assert start * factor**depth < edge * (1 + 1e-9)
    assert depth == 0 or start * factor ** (depth - 1) >= edge * (1 - 1e-9)


def test_a_limit_is_explained() -> None:
    assert "infinite beyond layer 2566" in explain_limit(1.035169, "bfloat16")
    with pytest.raises(UsageError, match="no number format 'float8'; there are float16"):
        number_format("float8")
