"""Softmax of equal logits is one over their number, except where exp leaves the format."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from headwater.lab.claims import every
from headwater.lab.experiment import Experiment
from headwater.lab.pictures import Style
from headwater.lab.rows import Array, Rows, Tables

DTYPES = ("float16", "bfloat16", "float32", "float64")
RIGHT, ZERO, NAN = "right", "all zero", "NaN"
_EDGE = 300  # beyond it a label has room on the inner side only


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The constants that are tried, and whether the largest logit is subtracted first."""

    reach: float = 800.0
    spacing: float = 0.25
    classes: int = 4
    subtract_largest: bool = False


def measure(settings: Settings, seeds: Array) -> Tables:
    """Return what softmax makes of every constant in every format, and of other formulas."""
    seed = int(seeds[0])
    constants = [_constants(dtype, settings, seed) for dtype in DTYPES]
    return {
        "members": Rows.joined([_ends(rows) for rows in constants]),
        "constants": Rows.joined(constants),
        "formulas": _formulas(seed),
    }


def _constants(dtype: str, settings: Settings, seed: int) -> Rows:
    import torch

    steps = round(settings.reach / settings.spacing)
    values = torch.arange(-steps, steps + 1, dtype=torch.float64) * settings.spacing
    logits = values[:, None].expand(-1, settings.classes).to(getattr(torch, dtype))
    naive_x, stable_x = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    shift = naive_x.detach().amax(1, keepdim=True) if settings.subtract_largest else 0.0
    powers = torch.exp(naive_x - shift)
    naive, stable = powers / powers.sum(1, keepdim=True), torch.softmax(stable_x, 1)
    (slope,) = torch.autograd.grad(naive[:, 0].sum(), naive_x)
    (stable_slope,) = torch.autograd.grad(stable[:, 0].sum(), stable_x)
    return Rows.of(
        seed=seed,
        dtype=dtype,
        constant=values.numpy(),
        naive=naive[:, 0].detach().double().numpy(),
        stable=stable[:, 0].detach().double().numpy(),
        gradient_right=torch.isfinite(slope).all(1).numpy() & (naive[:, 0] > 0).numpy(),
        stable_gradient_right=torch.isfinite(stable_slope).all(1).numpy(),
    )


def _ends(rows: Rows) -> Rows:
    constant, naive = rows["constant"], rows["naive"]
    wrong = np.isnan(naive)
    down, up = constant[wrong & (constant < 0)], constant[wrong & (constant > 0)]
    return Rows.of(
        seed=rows["seed"][:1],
        dtype=rows["dtype"][0],
        nan_from=float(down.max()) if len(down) else -math.inf,
        nan_to=float(up.min()) if len(up) else math.inf,
        zeros=int((naive == 0).sum()),
        zero_to=float(np.max(constant[naive == 0], initial=-math.inf)),
        stable_error=float(np.max(np.abs(rows["stable"] - 0.25))),
        stable_gradient_right=bool(rows["stable_gradient_right"].all()),
    )


def _formulas(seed: int) -> Rows:
    """Values in float32 of formulas that are right on paper, beside torch's own."""
    import torch
    from torch.nn import functional

    apart = torch.tensor([1000.0, 999.0, 0.0, -1000.0])
    far = torch.tensor(89.0)
    up, down = torch.exp(far), torch.exp(-far)
    low = torch.tensor(-89.0)
    rows = (
        ("log(softmax)", torch.log(torch.softmax(apart, 0))[2], torch.log_softmax(apart, 0)[2]),
        ("tanh by its exponentials", (up - down) / (up + down), torch.tanh(far)),
        ("-log(sigmoid)", -torch.log(torch.sigmoid(low)), -functional.logsigmoid(low)),
        ("slope of where(x > 0, x, exp(x) - 1)", *_elu_slopes(1000.0)),
    )
    return Rows.of(
        seed=seed,
        formula=[name for name, _, _ in rows],
        naive=[float(naive) for _, naive, _ in rows],
        stable=[float(stable) for _, _, stable in rows],
    )


def _elu_slopes(at: float) -> tuple[Any, Any]:
    import torch

    x = torch.tensor(at, requires_grad=True)
    (by_where,) = torch.autograd.grad(torch.where(x > 0, x, torch.exp(x) - 1), x)
    (by_elu,) = torch.autograd.grad(torch.nn.functional.elu(x), x)
    return by_where, by_elu


def draw(tables: Tables, figure: Any, style: Style) -> None:
    """Draw, for each format, where the naive softmax is right, zero, and NaN."""
    axes = figure.subplots()
    colours = {RIGHT: style.palette[2], ZERO: style.palette[4], NAN: style.palette[1]}
    for row, dtype in enumerate(DTYPES):
        rows = tables["constants"].where(dtype=dtype)
        state = np.where(np.isnan(rows["naive"]), NAN, np.where(rows["naive"] == 0, ZERO, RIGHT))
        edges = np.flatnonzero(state[1:] != state[:-1]) + 1
        for run in np.split(np.arange(len(state)), edges):
            x = rows["constant"]
            low, high = x[run[0]], x[min(run[-1] + 1, len(x) - 1)]
            axes.barh(row, high - low, left=low, height=0.62, color=colours[str(state[run[0]])])
        ends = tables["members"].where(dtype=dtype)
        for end, outward, inward in (
            (ends["nan_from"][0], "right", "left"),
            (ends["nan_to"][0], "left", "right"),
        ):
            if np.isfinite(end):
                side = inward if abs(end) > _EDGE else outward
                axes.text(end, row - 0.41, f"{end:g}", ha=side, va="bottom", fontsize=9)
    for name, colour in colours.items():
        axes.barh(0, 0, color=colour, label=name)
    axes.set(
        title="exp(c) / sum of exp(c), four equal logits c",
        yticks=range(len(DTYPES)),
        xlabel="the constant c",
        xscale="symlog",
        xlim=(-1100, 1100),
    )
    axes.set_yticklabels(DTYPES)
    axes.set_xticks([-800, -100, -10, -1, 0, 1, 10, 100, 800])
    axes.set_xticklabels(["-800", "-100", "-10", "-1", "0", "1", "10", "100", "800"])
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)


def found(tables: Tables) -> str:
    """Say where the naive formula ends in each format, and what other formulas give."""
    lines = [
        "| format | NaN from, downwards | NaN from, upwards | all zero up to |",
        "| --- | --- | --- | --- |",
    ]
    one = tables["members"]
    for row in range(len(one)):
        ends = f"{one['nan_from'][row]:g} | {one['nan_to'][row]:g} | {one['zero_to'][row]:g}"
        lines.append(f"| {one['dtype'][row]} | {ends} |")
    worst = float(one["stable_error"].max())
    lines += [
        "",
        f"torch's own softmax is 0.25 everywhere (largest error {worst:g}), its gradient finite.",
        "",
        "| formula, float32 | as written | torch's own |",
        "| --- | --- | --- |",
    ]
    one = tables["formulas"]
    for row in range(len(one)):
        lines.append(f"| {one['formula'][row]} | {one['naive'][row]:g} | {one['stable'][row]:g} |")
    return "\n".join(lines)


def _bands() -> Any:
    bands = {
        "float16": ((-20, -17.25), (11.25, 12)),
        "bfloat16": ((-92.75,) * 2, (88.75,) * 2),
        "float32": ((-104,) * 2, (88.75,) * 2),
        "float64": ((-745.25,) * 2, (710,) * 2),
    }
    for dtype, (down, up) in bands.items():
        yield every(f"{dtype}: NaN from here down, 0 / 0", "nan_from", *down, dtype=dtype)
        yield every(f"{dtype}: NaN from here up, inf / inf", "nan_to", *up, dtype=dtype)
    for dtype, at in (
        ("float16", 10.0),
        ("float16", 11.0),
        ("bfloat16", 88.0),
        ("float32", 88.0),
        ("float64", 709.0),
    ):
        yield every(
            f"{dtype}: silently all zero at {at:g}",
            "naive",
            0,
            0,
            table="constants",
            dtype=dtype,
            constant=at,
        )


EXPERIMENT = Experiment(
    name="softmax",
    claim="Softmax as it is written fails for constants of either sign; shifted by the largest it "
    "is right.",
    settings=Settings(),
    measure=measure,
    assertions=(
        *_bands(),
        every("stable softmax: largest error", "stable_error", 0.0, 0.0),
        every("stable softmax: its gradient is finite (1: yes)", "stable_gradient_right", 1, 1),
        every(
            "log(softmax) of [1000, 999, 0, -1000], third",
            "naive",
            -math.inf,
            -math.inf,
            table="formulas",
            formula="log(softmax)",
        ),
        every(
            "log_softmax of the same",
            "stable",
            -1000.32,
            -1000.31,
            table="formulas",
            formula="log(softmax)",
        ),
        every(
            "-log(sigmoid(-89))",
            "naive",
            math.inf,
            math.inf,
            table="formulas",
            formula="-log(sigmoid)",
        ),
    ),
    draw=draw,
    found=found,
    literature=(
        "Goodfellow, Bengio and Courville (2016), *Deep Learning*, section 4.1: for a constant "
        "vector softmax is 1/n on paper; in numbers a very negative constant gives 0/0 and a very "
        "large one overflows; subtracting the largest cures both, and log softmax needs a function "
        "of its own."
    ),
    fragile=(
        "Between right and NaN lies a band where every exponential is finite and only their sum "
        "overflows: the result is silently zero. The ends are those of each format's exp, on a "
        "grid of quarters; half formats round the constant itself, too."
    ),
    exact=True,
)
