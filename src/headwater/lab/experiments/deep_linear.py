"""Deep linear networks of factors c: where products grow, shrink, and leave the number format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headwater.lab.claims import every
from headwater.lab.experiment import Experiment
from headwater.lab.pictures import Style
from headwater.lab.rows import Array, Rows, Tables
from headwater.theory.precision import first_zero_depth, last_finite_depth

if TYPE_CHECKING:
    from torch import Tensor

DTYPES = ("float16", "bfloat16", "float32", "float64")
NEVER = -1  # as a depth


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Factors of the identity in every layer, and how the small networks are trained."""

    growing: float = 1.5
    shrinking: float = 0.5
    rounded: float = 0.9
    deepest: int = 1900
    depths: tuple[int, ...] = (2, 5, 10, 20, 50)
    rate: float = 0.01
    steps: int = 200


def measure(settings: Settings, seeds: Array) -> Tables:
    """Return where powers leave each format, gradients of float32 networks, and trainings."""
    seed = int(seeds[0])
    factors = (settings.growing, settings.shrinking, settings.rounded)
    powers = [_powers(c, dtype, settings.deepest, seed) for c in factors for dtype in DTYPES]
    nets = ((settings.shrinking, 100), (settings.growing, 150))
    trained = [
        _trained(c, depth, settings, seed)
        for c in (settings.growing, settings.shrinking, 1.0)
        for depth in settings.depths
    ]
    return {
        "members": Rows.joined([_landmarks(one) for one in powers]),
        "powers": Rows.joined(powers),
        "gradients": Rows.joined([_gradient(c, depth, seed) for c, depth in nets]),
        "trainings": Rows.joined(trained),
    }


def _powers(factor: float, dtype: str, deepest: int, seed: int) -> Rows:
    import torch

    form = getattr(torch, dtype)
    layer = factor * torch.eye(2, dtype=form)
    product, entries, broken = torch.eye(2, dtype=form), [], []
    for _ in range(deepest):
        product = product @ layer
        entries.append(product[0, 0].double())
        broken.append(product.isnan().any())  # off the diagonal first, where inf meets 0
    size = torch.stack(entries).numpy()
    tiny = float(torch.finfo(form).tiny)
    return Rows.of(
        seed=seed,
        factor=factor,
        dtype=dtype,
        depth=np.arange(1, deepest + 1),
        output=size,
        subnormal=(size > 0) & (size < tiny),
        nan=torch.stack(broken).numpy(),
    )


def _landmarks(powers: Rows) -> Rows:
    size, depth = powers["output"], powers["depth"]
    factor, dtype = float(powers["factor"][0]), str(powers["dtype"][0])
    last, zero = last_finite_depth(factor, dtype), first_zero_depth(factor, dtype)
    return Rows.of(
        seed=powers["seed"][:1],
        factor=factor,
        dtype=dtype,
        first_inf=_first(depth, np.isinf(size)),
        first_nan=_first(depth, powers["nan"]),
        first_subnormal=_first(depth, powers["subnormal"]),
        first_zero=_first(depth, size == 0),
        theory_first_inf=NEVER if last is None else last + 1,
        theory_first_zero=NEVER if zero is None else zero,
        last=float(size[-1]),
    )


def _first(depth: Array, there: Array) -> int:
    return int(depth[there][0]) if there.any() else NEVER


def _gradient(factor: float, depth: int, seed: int) -> Rows:
    """The gradient of the summed output by the first layer, in float32."""
    import torch

    layers = [(factor * torch.eye(2)).requires_grad_() for _ in range(depth)]
    _output(layers, torch.ones(2)).sum().backward()  # type: ignore[no-untyped-call]
    gradient = layers[0].grad
    assert gradient is not None
    # Squares of 1e26 overflow in float32, and those of 1e-30 vanish: the norm is float64's.
    return Rows.of(seed=seed, factor=factor, depth=depth, norm=[float(gradient.double().norm())])


def _trained(factor: float, depth: int, settings: Settings, seed: int) -> Rows:
    """Gradient descent on the identity, mean squared error at the input (1, 1)."""
    import torch

    layers = [(factor * torch.eye(2)).requires_grad_() for _ in range(depth)]
    losses = []
    for _ in range(settings.steps + 1):
        loss = (_output(layers, torch.ones(2)) - 1).square().mean()
        losses.append(float(loss.detach()))
        gradients = torch.autograd.grad(loss, layers)
        with torch.no_grad():
            torch._foreach_add_(layers, gradients, alpha=-settings.rate)
    course = np.array(losses)
    return Rows.of(
        seed=seed,
        factor=factor,
        depth=depth,
        loss_first=course[:1],
        loss_last=course[-1:],
        kept=course[-1:] / np.maximum(course[:1], 1e-300),
        first_not_finite=_first(np.arange(len(course)), ~np.isfinite(course)),
    )


def _output(layers: list[Tensor], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer @ x
    return x


def draw(tables: Tables, figure: Any, style: Style) -> None:
    """Draw the powers by depth until they leave each format."""
    axes = figure.subplots(1, 2)
    factors = tables["members"].distinct("factor")[:2]
    for one, factor, words in zip(axes, factors, ("grows", "shrinks"), strict=True):
        for colour, dtype in zip(style.palette, DTYPES, strict=False):
            rows = tables["powers"].where(factor=factor, dtype=dtype)
            size = rows["output"]
            end = _end(size)
            fate = "zero" if size[end] == 0 else "inf"
            # Thick lines under thin ones: up to its end each format has the same powers.
            wide = 9 - 2.2 * DTYPES.index(dtype)
            one.plot(
                rows["depth"][:end],
                np.log10(size[:end]),
                color=colour,
                lw=wide,
                solid_capstyle="butt",
                label=f"{dtype}: {fate} at {end + 1:,}",
            )
        one.set(
            xscale="log",
            xlabel="number of factors",
            xlim=(1, 2500),
            title=f"W = {factor:g} I in every layer {words}",
        )
    axes[0].set_ylabel("output, log10")
    axes[0].legend(loc="upper left")
    axes[1].legend(loc="lower left")


def _end(size: Array) -> int:
    gone = ~np.isfinite(size) | (size == 0)
    return int(np.argmax(gone)) if gone.any() else len(size) - 1


def found(tables: Tables) -> str:
    """Say where each format ends, and what training makes of it."""
    lines = [
        "| factor | format | first subnormal | first zero | first inf | first NaN |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    marks = ("first_subnormal", "first_zero", "first_inf", "first_nan")
    one = tables["members"]
    for row in range(len(one)):
        cells = ["-" if one[m][row] == NEVER else f"{one[m][row]:,}" for m in marks]
        lines.append(f"| {one['factor'][row]:g} | {one['dtype'][row]} | {' | '.join(cells)} |")
    lines += [
        "",
        "Trained to the identity:",
        "",
        "| factor | depth | loss at first | at last |",
        "| --- | --- | --- | --- |",
    ]
    one = tables["trainings"]
    for row in range(len(one)):
        step = one["first_not_finite"][row]
        end = f"{one['loss_last'][row]:.4g}" if step == NEVER else f"not finite at step {step}"
        words = f"{one['factor'][row]:g} | {one['depth'][row]} | {one['loss_first'][row]:.4g}"
        lines.append(f"| {words} | {end} |")
    return "\n".join(lines)


def _formats() -> Any:
    # The last finite powers and first zeros of 1.5 and 0.5, as IEEE 754 has them.
    for dtype, inf, zero in (
        ("float16", 28, 25),
        ("bfloat16", 220, 134),
        ("float32", 219, 150),
        ("float64", 1751, 1075),
    ):
        yield every(
            f"{dtype}: 1.5^n is inf from n =", "first_inf", inf, inf, dtype=dtype, factor=1.5
        )
        low = 127 if dtype == "float32" else zero  # where the machine flushes subnormals
        yield every(
            f"{dtype}: 0.5^n is 0 from n =", "first_zero", low, zero, dtype=dtype, factor=0.5
        )
    for dtype in DTYPES[:3]:
        yield every(
            f"{dtype}: 0.9^n is 0 from n = (never: -1)",
            "first_zero",
            NEVER,
            NEVER,
            dtype=dtype,
            factor=0.9,
        )


def _trainings() -> Any:
    for depth in (10, 20, 50):
        yield every(
            f"c = 1.5, depth {depth}: loss is not finite at step",
            "first_not_finite",
            1,
            3,
            table="trainings",
            factor=1.5,
            depth=depth,
        )
        yield every(
            f"c = 0.5, depth {depth}: share of the loss that is left",
            "kept",
            0.995,
            1.0,
            table="trainings",
            factor=0.5,
            depth=depth,
        )
        yield every(
            f"c = 1, depth {depth}: loss at first",
            "loss_first",
            0.0,
            0.0,
            table="trainings",
            factor=1.0,
            depth=depth,
        )


EXPERIMENT = Experiment(
    name="deep-linear",
    claim="Layers 1.5 I and 0.5 I leave every number format, and such networks do not train.",
    settings=Settings(),
    measure=measure,
    assertions=(
        *_formats(),
        every(
            "float32: 1.5^n I is NaN (inf times 0) from n =",
            "first_nan",
            220,
            220,
            dtype="float32",
            factor=1.5,
        ),
        every(
            "gradient's norm, 100 layers of 0.5 I",
            "norm",
            3.15e-30,
            3.16e-30,
            table="gradients",
            depth=100,
        ),
        every(
            "gradient's norm, 150 layers of 1.5 I",
            "norm",
            3.45e26,
            3.46e26,
            table="gradients",
            depth=150,
        ),
        *_trainings(),
    ),
    draw=draw,
    found=found,
    literature=(
        "The example of A. Ng's course *Improving Deep Neural Networks*, week 1: with weights a "
        "little over the identity activations explode with depth, a little under it they vanish. "
        "Saxe, McClelland and Ganguli (2014), arXiv:1312.6120, solve how deep linear networks "
        "learn."
    ),
    fragile=(
        "Only factors of at most 0.5 reach exact zero: 0.9 sticks at a subnormal number for ever "
        "by rounding, in float16, bfloat16 and float32. A machine that flushes subnormals has its "
        "zero in float32 at 127 instead of 150. A norm that squares in float32 calls the gradient "
        "of 150 layers infinite, which it is not."
    ),
    exact=True,
)
