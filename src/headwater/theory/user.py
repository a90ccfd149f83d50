"""Activations of one's own: any callable on arrays or on tensors, kinks found or given."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from headwater.errors import DivergentIntegralError, UsageError
from headwater.theory.activations import Activation
from headwater.theory.gaussian import Array, Function, expect, mean_over

SEARCHED = 32.0  # kinks are looked for between minus this and this
JUMP = 1e-4  # of the slope, relative to the largest; a smaller one costs less than 1e-8 of a moment
# Central differences of eighth order: exact for polynomials of degree 8.
ORDER_8 = ((1, 4 / 5), (2, -1 / 5), (3, 4 / 105), (4, -1 / 280))
WIDEST_STEP = 0.02


def from_function(
    function: Callable[..., object],
    *,
    derivative: Callable[..., object] | None = None,
    kinks: Sequence[float] | None = None,
    name: str = "",
) -> Activation:
    """Make an activation of any elementwise function.

    Args:
        function: Takes a float64 array or a torch tensor, elementwise.
        derivative: The same for the derivative; numerical (1e-11) if not given.
        kinks: Where the slope jumps; looked for within ±32 if not given.
        name: For messages; the function's own if empty.

    Raises:
        UsageError: The function takes neither, or is not elementwise.

    Example:
        >>> bent = from_function(lambda x: np.maximum(x, 0.5 * x), name="bent")
        >>> from headwater.theory.activations import moment
        >>> bent.kinks, round(moment(bent, "slope2", 1.0), 9)
        ((0.0,), 0.625)
    """
    name = name or getattr(function, "__name__", type(function).__name__)
    phi = _on_arrays(function, name)
    found = find_kinks(phi) if kinks is None else tuple(sorted(float(kink) for kink in kinks))
    slope = _on_arrays(derivative, name) if derivative else _difference(phi, found)
    return Activation(
        name=name,
        formula=f"{name}(x)",
        slope_formula=f"{name}'(x)" if derivative else f"{name}'(x), by differences",
        function=phi,
        derivative=slope,
        kinks=found,
        at_kinks="the mean of both sides" if found and not derivative else "",
        source="given",
        adaptive=_needs_care(phi, found),
    )


def find_kinks(function: Function) -> tuple[float, ...]:
    """Places within ±32 where the slope jumps by more than a ten-thousandth of its largest.

    A second difference over h is the jump where there is one, whatever h, and h times the
    curvature where there is none: what stays while h shrinks a thousandfold is a kink.

    Example:
        >>> find_kinks(lambda x: np.clip(x, -1.0, 2.5))
        (-1.0, 2.5)
        >>> find_kinks(np.tanh)
        ()
    """
    step = 1 / 64
    grid = np.arange(-SEARCHED, SEARCHED + step, step)
    bends = np.abs(_bend(function, grid, step))
    steepest = max(float(np.abs(np.diff(function(grid)) / step).max()), 1e-300)
    peaks = (bends >= np.roll(bends, 1)) & (bends >= np.roll(bends, -1)) & (bends > JUMP * steepest)
    kinks = {_zoomed(function, float(x), step) for x in grid[peaks]}
    tiny = 1e-6
    real = [
        kink
        for kink in kinks
        if abs(float(_bend(function, np.array([kink]), tiny)[0])) > JUMP * steepest
    ]
    return tuple(sorted(set(real)))


def _zoomed(function: Function, place: float, step: float) -> float:
    while step > 1e-9:
        around = place + step * np.linspace(-1, 1, 17)
        place = float(around[int(np.argmax(np.abs(_bend(function, around, step / 4))))])
        step /= 4
    # Kinks are written by people: the round number next to the one found is meant.
    return round(place, 6) + 0.0 if abs(place - round(place, 6)) < 1e-7 else place


def _bend(function: Function, x: Array, step: float) -> Array:
    return (function(x + step) - 2 * function(x) + function(x - step)) / step


def _on_arrays(function: Callable[..., object], name: str) -> Function:
    probe = np.array([-1.5, -0.25, 0.0, 0.5, 2.0])
    attempts: tuple[Function, ...] = (lambda x: np.asarray(function(x), dtype=np.float64),)
    torch = sys.modules.get("torch")  # who passes a function of tensors has imported it
    if torch is not None:

        def through_tensors(x: Array) -> Array:
            with torch.no_grad():
                result: Any = function(torch.from_numpy(x.copy()))
                return np.asarray(result.numpy(), dtype=np.float64)

        attempts = (*attempts, through_tensors)
    reasons = []
    for attempt in attempts:
        try:
            values = attempt(probe)
        except Exception as error:  # the user's function may raise anything on the wrong type
            reasons.append(f"{type(error).__name__}: {error}")
            continue
        if values.shape == probe.shape:
            return attempt
        reasons.append(f"it maps shape {probe.shape} to {values.shape}")
    raise UsageError(
        f"{name} is not an elementwise function of float64 arrays or tensors ({reasons[-1]}); "
        "wrap it so that it is"
    )


def _difference(function: Function, kinks: tuple[float, ...]) -> Function:
    places = np.array([*kinks, np.inf])

    def derivative(x: Array) -> Array:
        # No stencil may reach over a kink; right at one its two sides are averaged.
        away = np.abs(x[..., None] - places).min(axis=-1)
        step = np.clip(away / 5, 1e-6, WIDEST_STEP)
        total: Array = np.zeros_like(x)
        for k, weight in ORDER_8:
            total += weight * (function(x + k * step) - function(x - k * step))
        slope: Array = total / step
        return slope

    return derivative


def _needs_care(function: Function, kinks: tuple[float, ...]) -> bool:
    """Say whether the fixed rule differs from the adaptive one, at a small, middle or large q."""

    def square(x: Array) -> Array:
        return function(x) ** 2

    for q in (0.01, 1.0, 100.0):
        try:
            exact = expect(square, q, kinks=kinks)
        except DivergentIntegralError:
            continue
        if abs(mean_over(square, q, kinks) - exact.value) > 1e-11 * abs(exact.value):
            return True
    return False
