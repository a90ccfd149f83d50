"""The compiled arithmetic: functions right to the last places, and at the ends of the format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import njit
from scipy import special

from headwater.lab import compiler, elementary, lanes
from headwater.lab.memory import LANES
from headwater.lab.network import Network
from headwater.lab.pointwise import CODES, activate, code_of, sigmoid, softplus, tanh
from headwater.lab.randomness import mixed32, noise, noise_keys
from headwater.theory.catalogue import CATALOGUE, find_activation

DTYPES = [np.float32, np.float64]


def over(function: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function of sixteen lanes as one of arrays."""

    @njit
    def run(x: Any, y: Any) -> None:
        source, target = lanes.memory(x), lanes.memory(y)
        for at in range(x.size // 16):
            lanes.store(target, at, function(lanes.load(source, at)))

    def applied(x: np.ndarray) -> np.ndarray:
        filled = np.concatenate([x, np.repeat(x[:1], -len(x) % LANES)])
        result = np.empty_like(filled)
        run(filled, result)
        return result[: len(x)]

    return applied


FUNCTIONS: dict[str, tuple[Any, Callable[[np.ndarray], np.ndarray], tuple[float, float], float]] = {
    "exp": (elementary.exp, np.exp, (-87, 88), 2),
    "expm1": (elementary.expm1, np.expm1, (-40, 5), 3),
    "log1p": (elementary.log1p, np.log1p, (0, 1), 3),
    "tanh": (tanh, np.tanh, (-12, 12), 4),
    "sigmoid": (sigmoid, special.expit, (-80, 80), 4),
    "softplus": (softplus, lambda x: np.logaddexp(0, x), (-80, 80), 4),
    "erf": (elementary.erf, special.erf, (-5, 5), 4),
    "sin": (elementary.sin, np.sin, (-30, 30), 2),
    "cos": (elementary.cos, np.cos, (-30, 30), 2),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_right_to_a_few_units_in_the_last_place(name: str, dtype: Any) -> None:
    function, exact, (low, high), units = FUNCTIONS[name]
    x = np.concatenate([np.linspace(low, high, 20_001), np.geomspace(1e-6, 0.9, 1001)]).astype(
        dtype
    )
    wanted = exact(x.astype(np.longdouble if name in {"exp", "expm1", "log1p", "tanh"} else float))
    found = over(function)(x)
    # Near a zero of sine the argument's own rounding is what is left.
    scale = np.maximum(np.abs(wanted), 1.0 if name in {"sin", "cos"} else 0.0)
    assert (np.abs(found - wanted) <= units * np.finfo(dtype).eps * scale).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_ends_of_the_format_are_reached_and_not_passed(dtype: Any) -> None:
    info = np.finfo(dtype)
    edge = np.log(float(info.max))
    x = np.array([np.nan, np.inf, -np.inf, edge * 0.9999, edge * 1.0001, -edge * 1.3, -0.0, 0.0])
    found = over(elementary.exp)(x.astype(dtype))
    assert np.isnan(found[0])
    assert np.isinf(found[[1, 4]]).all()
    assert np.isfinite(found[3])
    assert found[[2, 5]].tolist() == [0, 0]
    assert found[[6, 7]].tolist() == [1, 1]
    small = dtype(np.log(float(info.smallest_subnormal)) + 1)
    assert 0 < over(elementary.exp)(np.array([small]))[0] < info.tiny
    for function in (tanh, sigmoid, elementary.expm1, elementary.erf):
        values = over(function)(np.array([np.nan, 1e30, -1e30, 0.0], dtype=dtype))
        assert np.isnan(values[0])
        assert np.isfinite(values[[2, 3]]).all()
    assert over(tanh)(np.array([1e30, -1e30, 0.0], dtype=dtype)).tolist() == [1, -1, 0]
    assert over(sigmoid)(np.array([1e30, -1e30, 0.0], dtype=dtype)).tolist() == [1, 0, 0.5]


NAMES = [name if name != "rrelu" else "rrelu(eval)" for name in CATALOGUE]


@njit
def both(kind: int, values: Any, x: Any, y: Any, d: Any) -> None:
    source, value, rise = lanes.memory(x), lanes.memory(y), lanes.memory(d)
    for at in range(x.size // 16):
        z = lanes.load(source, at)
        slope = lanes.splat(values[0], z)
        f, g = activate(kind, values, slope, z)
        lanes.store(value, at, f)
        lanes.store(rise, at, g)


@pytest.mark.parametrize("name", NAMES)
def test_every_activation_of_the_catalogue_is_the_theorys(name: str) -> None:
    phi = find_activation(name)
    x = np.unique([*np.linspace(-12, 12, 2400), *phi.kinks, -60.0, 60.0, *np.geomspace(1e-4, 1, 9)])
    x = x[: len(x) // LANES * LANES]
    kind, values = code_of(Network(widths=(2, 5, 1), activation=name))
    y, d = np.empty_like(x), np.empty_like(x)
    both(kind, values, x, y, d)
    np.testing.assert_allclose(y, phi.function(x), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(d, phi.derivative(x), rtol=1e-10, atol=1e-14)


def test_no_activation_of_the_catalogue_is_missing() -> None:
    assert CODES.keys() == CATALOGUE.keys()


def test_noise_is_the_same_compiled_and_not() -> None:
    @njit
    def drawn(keys: Any, counter: Any, found: Any) -> None:
        target = lanes.memory(found)
        like = lanes.load(target, 0)
        lanes.store(target, 0, elementary.noise(lanes.memory(keys), counter, like))

    keys = noise_keys(np.arange(LANES))
    for number in (0, 1, 77, 2**32 - 1):
        counters = np.array([number], dtype=np.uint64)
        found = np.zeros(LANES)
        drawn(keys, mixed32(counters)[0], found)
        assert found.tolist() == noise(keys, counters)[:, 0].tolist()


def test_numba_still_has_the_name_that_keeps_old_code_from_running() -> None:
    dispatcher = compiler.compiled(sigmoid.py_func)
    assert dispatcher._cache._cache_file._source_stamp[1] == compiler.STAMP
    folder = Path(compiler.__file__).parent
    users = {
        file.stem for file in folder.glob("*.py") if "headwater.lab.compiler" in file.read_text()
    }
    assert users <= set(compiler.SOURCES)
    assert all((folder / f"{name}.py").exists() for name in compiler.SOURCES)


def test_where_nothing_can_be_kept_it_is_compiled_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unwritable(*_: object, **__: object) -> None:
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr("numba.core.caching.FunctionCache.__init__", unwritable)
    dispatcher = compiler.compiled(sigmoid.py_func)
    assert over(dispatcher)(np.zeros(16)).tolist() == [0.5] * 16
