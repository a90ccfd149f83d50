"""What a spectrum says of a format is what casting the tensor does."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from headwater.errors import UsageError
from headwater.records import Spectrum
from headwater.theory.precision import EIGHT_BITS, FORMATS, number_format
from headwater.theory.spectrum import (
    FORECASTS,
    HEADROOM,
    explain_shares,
    flushed_before,
    loss_scale,
    merged,
    own_shares,
    shares,
)

ENTRIES = 20_000


def _log_uniform(generator: torch.Generator) -> Tensor:
    exponents = torch.rand(ENTRIES, generator=generator) * 56 - 36
    return torch.exp2(exponents) * (torch.randint(0, 2, (ENTRIES,), generator=generator) * 2 - 1)


def _normal(generator: torch.Generator) -> Tensor:
    return torch.randn(ENTRIES, generator=generator) * 3e-6


def _any_bits(generator: torch.Generator) -> Tensor:
    bits = torch.randint(-(1 << 31), 1 << 31, (ENTRIES,), generator=generator)
    return bits.to(torch.int32).view(torch.float32)


def _mostly_zero(generator: torch.Generator) -> Tensor:
    return torch.relu(torch.randn(ENTRIES, generator=generator)) ** 8 * 1e-4


def _edges(_generator: torch.Generator) -> Tensor:
    """Every power of two near an edge of any format, with its neighbours, and the largest ones."""
    marks = [math.ldexp(1.0, e) for e in range(-148, 128)]
    marks += [number_format(name).largest for name in FORECASTS]
    marks += [464.0, 61440.0, 65520.0, 28.0, 4094.0, 3584.0]
    values = torch.tensor(marks, dtype=torch.float32)
    up, down = torch.tensor(math.inf), torch.tensor(-math.inf)
    near = [values, torch.nextafter(values, up), torch.nextafter(values, down), values * 1.25]
    return torch.cat([*near, -values, torch.tensor([0.0, -0.0, math.nan, math.inf, -math.inf])])


DATA = (_log_uniform, _normal, _any_bits, _mostly_zero, _edges)


def _cast(values: Tensor, dtype: str) -> Tensor:
    return values.to(getattr(torch, dtype)).double()


@pytest.mark.parametrize("name", EIGHT_BITS)
def test_the_limits_of_eight_bits_are_torchs(name: str) -> None:
    form, info = EIGHT_BITS[name], torch.finfo(getattr(torch, name))
    assert (form.largest, form.smallest_normal) == (info.max, info.smallest_normal)
    assert form.epsilon == info.eps
    codes = torch.arange(1, 128, dtype=torch.uint8).view(getattr(torch, name)).double()
    finite = codes[torch.isfinite(codes)]
    assert (form.smallest, form.largest) == (float(finite.min()), float(finite.max()))
    assert [form.round(value) for value in finite.tolist()] == finite.tolist()


def test_float8_rounds_as_torch_does() -> None:
    values = _log_uniform(torch.Generator().manual_seed(3))
    for name, form in EIGHT_BITS.items():
        kept = values[values.abs() <= form.largest]
        assert [form.round(value) for value in kept.tolist()] == _cast(kept, name).tolist()


@pytest.mark.parametrize("dtype", FORECASTS)
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("scale", [0, 12])
def test_shares_are_those_of_the_cast_tensor(
    dtype: str, data: Callable[[torch.Generator], Tensor], scale: int
) -> None:
    form = number_format(dtype)
    values = data(torch.Generator().manual_seed(1))
    values = values[values.abs() < 2.0**100]  # times 2^12 nothing leaves float32
    found = shares(Spectrum.of(values.tolist()), dtype, scale)
    scaled = values.double() * 2.0**scale
    size, cast = scaled.abs(), _cast(scaled.float(), dtype).abs()
    count = len(values)
    # What the binades cannot tell, as the module says: entries within rounding of an edge.
    tie = size == form.smallest / 2
    up = (size >= form.smallest_normal - form.smallest / 2) & (size < form.smallest_normal)
    assert round(found.zero * count) == int(((cast == 0) & ~tie).sum())
    assert round(found.flushed * count) == int(((cast == 0) & ~tie & (size > 0)).sum())
    subnormal = (cast > 0) & (cast < form.smallest_normal)
    assert round(found.subnormal * count) == int((subnormal | up | tie).sum())
    edge = 2.0 ** (form.greatest_exponent + 1)
    largest = size[torch.isfinite(size)].max()
    over = torch.isfinite(size) & (size >= edge)
    alone = int(not over.any() and bool(math.isinf(form.round(float(largest)))))
    assert round(found.over * count) == int(over.sum()) + alone
    # An infinity comes of all from half a unit over the largest number on; e4m3fn has none.
    limit = form.largest + math.ldexp(form.epsilon, form.greatest_exponent - 1)
    lost = ~torch.isfinite(cast) | ((cast == form.largest) & (size > limit))
    assert bool((lost | ~over)[torch.isfinite(size)].all())
    assert bool(((size >= limit) | ~lost)[torch.isfinite(size)].all())
    start = 2.0 ** math.frexp(form.largest / HEADROOM)[1]
    assert round(found.near_largest * count) == int((torch.isfinite(size) & (size >= start)).sum())
    assert start / 2 <= form.largest / HEADROOM < start


@pytest.mark.parametrize("dtype", FORECASTS)
def test_the_part_of_a_binade_that_rounds_out_of_it_is_as_stated(dtype: str) -> None:
    form = number_format(dtype)
    values = torch.linspace(form.smallest_normal / 2, form.smallest_normal, 8193)[:-1]
    up = (_cast(values, dtype) >= form.smallest_normal).double().mean()
    assert float(up) == pytest.approx(2.0 ** (1 - form.digits), abs=1 / 4096)


@pytest.mark.parametrize("dtype", FORECASTS)
def test_a_tensor_that_is_in_the_format_already_is_counted_exactly(dtype: str) -> None:
    form = number_format(dtype)
    values = _cast(_log_uniform(torch.Generator().manual_seed(2)) * 1e-3, dtype)
    values = values[torch.isfinite(values)]
    found = own_shares(Spectrum.of(values.tolist()), dtype)
    size = values.abs()
    assert found.zero == float((size == 0).double().mean())
    subnormal = (size > 0) & (size < form.smallest_normal)
    assert found.subnormal == float(subnormal.double().mean())


@pytest.mark.parametrize("dtype", ["float16", "float8_e4m3fn", "float8_e5m2"])
@pytest.mark.parametrize("data", [_log_uniform, _normal, _mostly_zero])
def test_the_suggested_scale_is_the_largest_that_keeps_a_factor_of_sixteen(
    dtype: str, data: Callable[[torch.Generator], Tensor]
) -> None:
    values = data(torch.Generator().manual_seed(4))
    k = loss_scale(Spectrum.of(values.tolist()), dtype)
    assert k is not None
    room, largest = number_format(dtype).largest / HEADROOM, float(values.abs().max())
    assert largest * 2.0**k <= room < largest * 2.0 ** (k + 1)
    only_counts = Spectrum.of(values.tolist())
    guess = loss_scale(Spectrum(first=only_counts.first, counts=only_counts.counts), dtype)
    assert guess in (k, k - 1)


def test_the_words_are_those_of_what_casting_does() -> None:
    small, large = torch.full((380,), 2.0**-26), torch.full((620,), 2.0**-2)
    words = explain_shares(Spectrum.of(torch.cat([small, large]).tolist()), "float16")
    assert words == (
        "in float16 38 % of this gradient would be 0; a loss scale of 2^13 saves all of it"
    )
    tiny = torch.full((1,), 2.0**-60)
    words = explain_shares(Spectrum.of(torch.cat([small, large, tiny]).tolist()), "float16")
    assert words.endswith("a loss scale of 2^13 saves all but 0.1 %")
    assert "overflow" in explain_shares(Spectrum.of([1e6]), "float16", "output")
    dead = explain_shares(Spectrum.of([0.0, 0.0, 1e-9, 1.0]), "float16")
    assert dead.startswith("in float16 75 % of this gradient would be 0 (50 % is already)")


def test_nothing_counted_gives_no_share_and_no_scale() -> None:
    assert math.isnan(shares(Spectrum(), "float16").zero)
    assert loss_scale(Spectrum.of([0.0, math.nan]), "float16") is None


def test_tensors_together_are_counted_as_one() -> None:
    first, second = [1e-9, 0.0, 3.0], [1e5, math.inf]
    assert merged([Spectrum.of(first), Spectrum.of(second), Spectrum()]) == Spectrum.of(
        first + second
    )


def test_an_unknown_format_says_which_there_are() -> None:
    with pytest.raises(UsageError, match="float8_e5m2"):
        shares(Spectrum.of([1.0]), "float8_e3m4")
    assert set(FORMATS) & set(EIGHT_BITS) == set()


def _laplace(generator: torch.Generator) -> Tensor:
    signs = torch.randint(0, 2, (ENTRIES,), generator=generator) * 2 - 1
    return -torch.log(torch.rand(ENTRIES, generator=generator)) * signs


@pytest.mark.parametrize("dtype", ["float16", "float8_e5m2"])
@pytest.mark.parametrize("natural", [0.0, 0.5])
@pytest.mark.parametrize("log2_size", [-8, -3, 0, 1, 3, 6, 12])
def test_what_was_flushed_is_told_from_what_was_0(
    dtype: str, natural: float, log2_size: int
) -> None:
    generator = torch.Generator().manual_seed(5)
    for drawn in (torch.randn(ENTRIES, generator=generator), _laplace(generator)):
        cast = _cast(drawn * number_format(dtype).smallest * 2.0**log2_size, dtype)
        true = float((cast == 0).double().mean())
        alone = torch.zeros(int(natural / (1 - natural) * ENTRIES), dtype=torch.float64)
        found = flushed_before(Spectrum.of(torch.cat([cast, alone]).tolist()), dtype)
        share = true * (1 - natural)
        if true < 0.9:
            assert found == pytest.approx(share, abs=0.1)
        else:  # hardly a neighbour is left to tell by
            assert found <= share + 0.1


def test_a_wide_range_of_sizes_is_carried_on_below_the_smallest() -> None:
    values = _log_uniform(torch.Generator().manual_seed(6))
    cast = _cast(values[values.abs() < 60_000], "float16")
    true = float((cast == 0).double().mean())
    assert flushed_before(Spectrum.of(cast.tolist()), "float16") == pytest.approx(true, abs=0.1)
    padded = torch.cat([cast, torch.zeros(len(cast), dtype=torch.float64)])
    found = flushed_before(Spectrum.of(padded.tolist()), "float16")
    assert found == pytest.approx(true / 2, abs=0.1)


def test_zeros_without_small_neighbours_are_not_blamed_on_the_format() -> None:
    cast = torch.relu(torch.randn(ENTRIES, generator=torch.Generator().manual_seed(7))).half()
    assert flushed_before(Spectrum.of(cast.double().tolist()), "float16") < 0.001
