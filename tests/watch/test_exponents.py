"""Exponent counts: exact for every dtype, on both ways of counting, spread over large tensors."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from headwater.records import Spectrum
from headwater.watch.exponents import MOST, _by_comparison, count_exponents, spread, unpack

DTYPES = ("float64", "float32", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2")


def _adversarial(dtype: torch.dtype) -> Tensor:
    """Every power of two, its neighbours, the smallest, the largest, and what is no number."""
    powers = torch.tensor([math.ldexp(1.0, e) for e in range(-1074, 1024)], dtype=torch.float64)
    special = torch.tensor([0.0, -0.0, math.nan, math.inf, -math.inf], dtype=torch.float64)
    values = torch.cat([powers, -powers, powers * 1.9375, powers * 1.0625, special])
    return values.to(torch.float32).to(dtype) if dtype is not torch.float64 else values


@pytest.mark.parametrize("name", DTYPES)
def test_counts_are_those_of_the_numbers_one_by_one(name: str) -> None:
    for values in _adversarial(getattr(torch, name)).split(MOST):
        want = Spectrum.of(values.double().tolist())
        found = unpack(count_exponents(values))  # type: ignore[arg-type]
        assert found is not None
        assert (found.first or 0, tuple(found.counts)) == (want.first, want.counts)
        assert (found.zeros, found.nonfinite) == (want.zeros, want.nonfinite)


@pytest.mark.parametrize("name", DTYPES[:3])
def test_a_device_counts_as_the_cpu_does(name: str) -> None:
    for values in _adversarial(getattr(torch, name)).split(MOST):
        there = unpack(_by_comparison(values).tolist())
        assert there == unpack(count_exponents(values))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values",
    [
        torch.zeros(5),
        torch.full((3,), math.nan),
        torch.full((4,), 1e-40),
        torch.tensor([1e-44, 0.0, 1e-39, 3.0]),
        torch.randn(6, 5).t(),
        torch.randn(4, 1).expand(4, 3),
        torch.randn(3, dtype=torch.complex64),
        torch.eye(3).to_sparse(),
    ],
)
def test_all_kinds_of_tensors_are_counted(values: Tensor) -> None:
    found = unpack(count_exponents(values))  # type: ignore[arg-type]
    dense = values.coalesce().values() if values.is_sparse else values
    dense = torch.view_as_real(dense) if dense.is_complex() else dense
    want = Spectrum.of(dense.double().reshape(-1).tolist())
    assert found is not None
    assert (found.first or 0, tuple(found.counts)) == (want.first, want.counts)
    assert (found.zeros, found.nonfinite) == (want.zeros, want.nonfinite)


def test_what_has_no_exponents_is_not_counted() -> None:
    assert count_exponents(torch.zeros(0)) is None
    assert count_exponents(torch.arange(3)) is None


@pytest.mark.parametrize("shape", [(300, 1024), (1024, 300), (1 << 18,), (64, 3, 64, 64)])
def test_of_a_large_tensor_every_column_is_looked_at(shape: tuple[int, ...]) -> None:
    values = torch.arange(math.prod(shape), dtype=torch.float64).reshape(shape)
    kept = spread(values)
    assert MOST / 2 < len(kept) <= MOST
    for size in shape:
        assert len(torch.unique(kept.long() % size)) == min(size, len(torch.unique(kept)))


def test_of_a_large_tensor_the_shares_are_those_of_the_whole() -> None:
    values = torch.randn(1 << 20, generator=torch.Generator().manual_seed(0))
    found = unpack(count_exponents(values))  # type: ignore[arg-type]
    assert found is not None
    assert found.first is not None
    below = sum(found.counts[: -3 - found.first])  # under 1/8: erf(1 / (8 sqrt 2))
    share = math.erf(0.125 / math.sqrt(2))
    error = math.sqrt(share * (1 - share) / MOST)
    assert below / sum(found.counts) == pytest.approx(share, abs=4 * error)
