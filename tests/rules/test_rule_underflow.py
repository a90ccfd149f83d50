"""HW302: float16 gradients that are rounded to 0, and denominators that lose digits."""

from pathlib import Path

import made_up
import numpy as np
import pytest
from chains import finding, judged
from halves import SAMPLES, counts, normal, small_gradients, sums_of_exponentials

from headwater.rules.underflow import LIMITS


def test_a_float16_gradient_that_is_rounded_to_0_is_told_with_its_share(tmp_path: Path) -> None:
    found = finding(small_gradients(tmp_path, 3e-8), "HW302")
    true = float((normal(3e-8) == 0).mean())
    assert 0.5 < true < 0.8
    assert found.evidence["flushed_share"] == pytest.approx(true, abs=0.1)
    assert found.severity == "error"
    assert found.causes[0].cause == "unscaled-half-precision"
    assert found.where[0].parameter == "net.0.weight"
    assert "no GradScaler scales the loss" in found.message


def _beside(folder: Path, size: float) -> str:
    """Judge a gradient that is 0 altogether beside one of a size."""
    rows = [
        {"step": step, "parameter": index, **counts(drawn, "gradient")}
        for step in SAMPLES
        for index, drawn in enumerate((normal(size, seed=step), np.zeros(4000)))
    ]
    known = [made_up.parameter(f"net.{i}.weight", dtype="float16") for i in (0, 1)]
    pulse = [{"loss": 0.7} for _ in range(65)]
    run = made_up.run(folder, pulse=pulse, parameters=rows, info={"parameters": known})
    verdict = judged(run, "HW302")
    if verdict.findings:
        assert "the gradient of net.1.weight is 0 altogether" in verdict.reason
    return verdict.answer


def test_a_gradient_of_0_is_blamed_on_float16_only_beside_tiny_ones(tmp_path: Path) -> None:
    assert _beside(tmp_path, 5e-7) == "wrong"
    assert _beside(tmp_path, 1e-3) == "healthy"


def test_the_scale_that_is_suggested_leaves_a_factor_of_sixteen(tmp_path: Path) -> None:
    found = finding(small_gradients(tmp_path, 1e-7), "HW302")
    k = found.evidence["log2_more_scale"]
    assert isinstance(k, int)
    largest = np.abs(normal(1e-7, seed=SAMPLES[-1])).max()
    assert largest * 2.0**k <= 65504 / 16 < largest * 2.0 ** (k + 1)
    assert f"a scale of 2^{k}" in found.message


def test_a_float16_gradient_within_its_range_is_healthy(tmp_path: Path) -> None:
    for size in (1e-5, 1e-3, 1.0):
        assert judged(small_gradients(tmp_path, size), "HW302").answer == "healthy"


def test_zeros_of_dead_units_are_no_underflow(tmp_path: Path) -> None:
    run = small_gradients(tmp_path, 1e-3, natural_zeros=40_000)
    assert judged(run, "HW302").answer == "healthy"


def test_under_autocast_the_gradient_is_made_in_the_format_of_the_cast(tmp_path: Path) -> None:
    found = finding(small_gradients(tmp_path, 3e-8, cast=True), "HW302")
    assert "In float16" in found.message


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_formats_that_reach_further_are_healthy(tmp_path: Path, dtype: str) -> None:
    assert judged(small_gradients(tmp_path, 3e-8, dtype=dtype), "HW302").answer == "healthy"


def test_a_scale_that_is_too_small_is_told_as_such(tmp_path: Path) -> None:
    found = finding(small_gradients(tmp_path, 5e-8, scale=2.0), "HW302")
    assert found.causes[0].cause == "loss-scale-too-small"
    assert "the loss scale is 2" in found.message


def test_two_samples_cannot_be_judged(tmp_path: Path) -> None:
    run = small_gradients(tmp_path, 3e-8, samples=(0, 1))
    verdict = judged(run, "HW302")
    assert verdict.answer == "cannot say"
    assert f"{LIMITS.least_samples} needed" in verdict.reason


def test_a_record_without_counts_cannot_be_judged(tmp_path: Path) -> None:
    assert judged(made_up.run(tmp_path, pulse=[{"loss": 0.5}]), "HW302").answer == "cannot say"


def test_denominators_that_lose_digits_name_the_stable_call(tmp_path: Path) -> None:
    found = finding(sums_of_exponentials(tmp_path, np.array([1e-40] * 5 + [1.0] * 95)), "HW302")
    assert found.causes[0].cause == "naive-softmax"
    assert found.evidence["spoilt_share"] == pytest.approx(0.05)
    assert found.where[0].line == 7
    assert found.message.endswith("That is naive softmax: type torch.softmax(x, dim) instead.")


def test_denominators_of_ordinary_size_are_healthy(tmp_path: Path) -> None:
    assert judged(sums_of_exponentials(tmp_path, np.full(100, 3.0)), "HW302").answer == "healthy"
