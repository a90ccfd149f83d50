"""Made-up runs with exponent counts: gradients in half precision, outputs that grow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import made_up
import numpy as np
from numpy.typing import NDArray

from headwater.records import Expression, Spectrum
from headwater.runs.reader import Run

SAMPLES = (0, 1, 2, 4, 8, 16, 32, 64)


def counts(values: NDArray[np.float64], what: str) -> dict[str, Any]:
    """Return the columns of a row that hold a tensor's counts."""
    seen = Spectrum.of(values.tolist())
    return {
        f"{what}_exponent": seen.first,
        f"{what}_counts": list(seen.counts),
        f"{what}_zeros": seen.zeros,
        f"{what}_nonfinites": seen.nonfinite,
        "gradient_max" if what == "gradient" else "output_largest": seen.largest,
    }


def normal(size: float, entries: int = 4000, *, seed: int = 0) -> NDArray[np.float64]:
    """Draw a tensor as float16 keeps it."""
    drawn = np.random.default_rng(seed).normal(0.0, size, entries)
    return drawn.astype(np.float16).astype(np.float64)


def small_gradients(
    folder: Path,
    size: float = 3e-8,
    *,
    samples: Sequence[int] = SAMPLES,
    dtype: str = "float16",
    natural_zeros: int = 0,
    scale: float | None = None,
    cast: bool = False,
) -> Run:
    """Write a run whose gradients are normal and ``size`` large before float16 rounds them.

    With ``cast`` the weights are float32 and the gradient comes from a float16 operation.
    """
    info = made_up.parameter("net.0.weight", (64, 64), dtype="float32" if cast else dtype)
    sites = [
        made_up.site("Mean", "loss", line=9),
        made_up.site("ToCopy" if cast else "T", "precision" if cast else "shape", line=5),
        made_up.site("parameter", "parameter", parameter="net.0.weight"),
    ]
    rows, nodes = [], []
    for step in samples:
        drawn = np.concatenate([normal(size, seed=step), np.zeros(natural_zeros)])
        rows.append({"step": step, "parameter": 0, "optimiser": 0, **counts(drawn, "gradient")})
        nodes += [
            made_up.node(0, -1, step=step, dtype="float32"),
            made_up.node(1, 0, step=step, dtype="float16", level=-7.0),
            made_up.node(2, 1, step=step, dtype="float32", parameter=0),
        ]
    pulse = [{"loss": 0.7, "loss_scale": scale} for _ in range(max(samples, default=0) + 1)]
    return made_up.run(
        folder,
        pulse=pulse,
        parameters=rows,
        sites=nodes,
        info={"parameters": [info], "sites": sites},
    )


def growing_outputs(
    folder: Path,
    largest: Callable[[int], float] = lambda step: 2.0 ** (step / 8),
    *,
    samples: Sequence[int] = tuple(range(0, 97, 8)),
    dtype: str = "float16",
    pulse: Callable[[int], Mapping[str, Any]] = lambda _step: {},
    expression: str = "",
) -> Run:
    """Write a run with one activation's output whose largest entry goes by the step."""
    sites = [made_up.site("Mean", "loss", line=9), made_up.site("Gelu", "activation", line=7)]
    nodes = []
    for step in samples:
        nodes += [
            made_up.node(0, -1, step=step),
            made_up.node(1, 0, step=step, output_dtype=dtype, output_largest=largest(step)),
        ]
    known = [Expression(expression=expression, site=1, stable="torch.softmax(x, dim)")]
    return made_up.run(
        folder,
        pulse=[{"loss": 0.7, **pulse(step)} for step in range(max(samples) + 1)],
        sites=nodes,
        info={
            "sites": sites,
            "expressions": [
                {"expression": one.expression, "site": one.site, "stable": one.stable}
                for one in known
                if expression
            ],
        },
    )


def sums_of_exponentials(folder: Path, values: NDArray[np.float64], *, line: int = 7) -> Run:
    """Write a run with a softmax by hand whose denominators are ``values``."""
    sites = [made_up.site("Mean", "loss", line=9), made_up.site("Sum", "shape", line=line)]
    sites.append(made_up.site("Div", "shape", line=line))
    nodes = []
    for step in SAMPLES:
        row = {"output_dtype": "float32", **counts(values, "output")}
        nodes += [
            made_up.node(0, -1, step=step),
            made_up.node(1, 2, step=step, **row),
            made_up.node(2, 0, step=step),
        ]
    stable = {"expression": "naive softmax", "site": 2, "stable": "torch.softmax(x, dim)"}
    return made_up.run(
        folder,
        pulse=[{"loss": 0.7} for _ in range(65)],
        sites=nodes,
        info={"sites": sites, "expressions": [stable]},
    )
