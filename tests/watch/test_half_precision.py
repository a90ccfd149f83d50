"""Real trainings in half precision: what is recorded, what the rules say, and that no bit moves."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import headwater
from headwater.records import Verdict
from headwater.rules import judge
from headwater.rules.underflow import _lost
from headwater.runs.spectra import gradient_dtypes, gradients

INPUTS = torch.randn(256, 20, generator=torch.Generator().manual_seed(3))
LABELS = INPUTS[:, :10].argmax(1)
Watch = Callable[[nn.Module], AbstractContextManager[Any]]


def _network() -> nn.Sequential:
    torch.manual_seed(1)
    layers = [nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 10)]
    return nn.Sequential(*layers)


def _train(
    watch: Watch, *, dtype: torch.dtype | None, scale: float | None, factor: float = 1.0
) -> dict[str, Tensor]:
    """Train 20 steps under autocast, the loss times ``factor``; return all that is left."""
    model = _network()
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3 / factor)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale or 1.0, enabled=scale is not None)
    losses = []
    with watch(model):
        for _ in range(20):
            optimiser.zero_grad()
            with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
                loss = F.cross_entropy(model(INPUTS).float(), LABELS) * factor
            scaler.scale(loss).backward()
            scaler.step(optimiser)
            scaler.update()
            losses.append(loss.detach())
    left = {**model.state_dict(), "losses": torch.stack(losses), "random": torch.get_rng_state()}
    left |= {f"gradient {n}": p.grad for n, p in model.named_parameters() if p.grad is not None}
    return left


def _observed(folder: Path, **settings: Any) -> tuple[headwater.Run, dict[str, Verdict]]:
    _train(lambda model: headwater.watch(model, out=folder / "run", every=2), **settings)
    run = headwater.Run.open(folder / "run")
    assert run.info.observation["status"] == "complete", run.info.observation["reason"]
    return run, {verdict.code: verdict for verdict in judge(run)}


@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scale", [None, 1024.0])
def test_no_bit_of_a_training_in_half_precision_moves(
    dtype: torch.dtype | None, scale: float | None, tmp_path: Path
) -> None:
    plain = _train(lambda _model: nullcontext(), dtype=dtype, scale=scale)
    seen = _train(
        lambda model: headwater.watch(model, out=tmp_path / "run", every=1),
        dtype=dtype,
        scale=scale,
    )
    assert plain.keys() == seen.keys()
    for name, value in plain.items():
        assert torch.equal(value, seen[name]), name


@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scale", [None, 1024.0])
def test_healthy_trainings_are_silent_in_every_format(
    dtype: torch.dtype | None, scale: float | None, tmp_path: Path
) -> None:
    _, verdicts = _observed(tmp_path, dtype=dtype, scale=scale)
    assert [verdicts[code].answer for code in ("HW301", "HW302", "HW303")] == ["healthy"] * 3


def test_a_gradient_that_a_cast_rounds_to_0_is_told_with_its_line(tmp_path: Path) -> None:
    _, verdicts = _observed(tmp_path, dtype=torch.float16, scale=None, factor=3e-6)
    found = verdicts["HW302"].findings[0]
    assert found.severity == "error"
    assert found.causes[0].cause == "unscaled-half-precision"
    assert found.where[0].file == __file__
    source = Path(__file__).read_text().splitlines()[found.where[0].line - 1]
    assert ".float()" in source
    logits = _network()(INPUTS).detach().requires_grad_()
    (F.cross_entropy(logits, LABELS) * 3e-6).backward()
    assert logits.grad is not None
    left = logits.grad.half().double().norm() / logits.grad.double().norm()
    assert found.evidence["norm_lost"] == pytest.approx(1 - float(left), abs=0.05)


def test_the_share_that_float16_rounds_to_0_is_what_float32_shows(tmp_path: Path) -> None:
    factor = 1e-4
    run, _ = _observed(tmp_path, dtype=torch.float16, scale=None, factor=factor)
    model = _network()
    (F.cross_entropy(model(INPUTS), LABELS) * factor).backward()
    lost = _lost(gradients(run), dict.fromkeys(range(6), "float16"))
    compared = 0
    for index, info in enumerate(run.parameters):
        gradient = dict(model.named_parameters())[info.name].grad
        assert gradient is not None
        alive = gradient[gradient != 0].abs()
        flushed = float((alive <= 2.0**-25).double().mean())
        if len(alive) > 500:
            assert lost[index] == pytest.approx(flushed, abs=0.1), info.name
            compared += flushed > 0.02
    assert compared


def test_a_scaler_saves_what_was_lost(tmp_path: Path) -> None:
    _, verdicts = _observed(tmp_path, dtype=torch.float16, scale=65536.0, factor=6e-6)
    assert verdicts["HW302"].answer == "healthy"


def test_the_record_says_in_which_dtype_a_gradient_was_made(tmp_path: Path) -> None:
    run, _ = _observed(tmp_path, dtype=torch.float16, scale=None)
    rows = run.site_rows.to_pylist()
    assert {row["dtype"] for row in rows} == {"float16", "float32"}
    assert {row["output_dtype"] for row in rows} == {"float16", None}
    assert {parameter.dtype for parameter in run.parameters} == {"float32"}
    assert set(gradient_dtypes(run).values()) == {"float16"}


def test_an_output_on_its_way_to_overflow_is_told_before_it_does(tmp_path: Path) -> None:
    log_size = nn.Parameter(torch.zeros(()))
    optimiser = torch.optim.SGD([log_size], lr=0.1)
    inputs = INPUTS.half()

    def step() -> float:
        optimiser.zero_grad()
        hidden = F.relu(inputs * log_size.exp().half())
        loss = hidden.float().mean() * 0 - log_size
        loss.backward()
        optimiser.step()
        return float(hidden.detach().max())

    with headwater.watch(out=tmp_path / "run", every=4) as run:
        for _ in range(61):
            step()
    found = next(v.findings[0] for v in judge(run.record) if v.code == "HW303")
    steps = 0
    while step() < float("inf"):
        steps += 1
    assert found.evidence["steps_left"] == pytest.approx(steps, abs=2)
    assert found.where[0].file == __file__


def test_counts_and_largest_are_those_of_the_outputs(tmp_path: Path) -> None:
    kinds: list[tuple[Callable[[Tensor], Tensor], str]] = [
        (F.relu, "Relu"), (F.gelu, "Gelu"), (F.silu, "Silu"), (F.mish, "Mish"), (F.elu, "Elu"),
        (F.selu, "Elu"), (F.celu, "Celu"), (F.leaky_relu, "LeakyRelu"), (F.softplus, "Softplus"),
        (F.hardtanh, "Hardtanh"), (F.hardswish, "Hardswish"), (F.hardsigmoid, "Hardsigmoid"),
        (F.logsigmoid, "LogSigmoid"), (F.hardshrink, "Hardshrink"), (torch.sin, "Sin"),
        (F.softshrink, "Softshrink"), (torch.tanh, "Tanh"), (torch.sigmoid, "Sigmoid"),
        (torch.erf, "Erf"), (lambda x: F.gelu(x, approximate="tanh"), "Gelu"),
        (lambda x: F.relu_(x * 1.0), "Relu"), (lambda x: F.elu_(x * 1.0), "Elu"),
        (lambda x: F.prelu(x, torch.linspace(-2, 0.5, 10)), "PreluKernel"),
        (lambda x: F.rrelu(x, training=True), "RreluWithNoise"),
        (lambda x: F.hardtanh(x, -2.0, 1.0), "Hardtanh"),
    ]  # fmt: skip
    for number, (function, name) in enumerate(kinds):
        torch.manual_seed(0)
        model = nn.Linear(20, 10)
        outputs: list[Tensor] = []
        with headwater.watch(model, out=tmp_path / str(number), every=1) as run:
            torch.manual_seed(1)
            outputs.append(function(3 * model(INPUTS)))
            outputs[0].square().mean().backward()
        record = run.record
        rows = [row for row in record.site_rows.to_pylist() if row["output_counts"] is not None]
        assert [record.sites[row["site"]].operation for row in rows] == [name], name
        size, row = outputs[0].detach().abs(), rows[0]
        assert row["output_largest"] == pytest.approx(float(size.max()), rel=1e-5), name
        zeros = int((size == 0).sum())
        assert row["output_zeros"] == pytest.approx(zeros, abs=1), name
        assert sum(row["output_counts"]) + row["output_zeros"] == size.numel(), name
        exponents = torch.frexp(size[size > 0]).exponent - 1
        want = torch.bincount(exponents - row["output_exponent"]).tolist()
        off = sum(abs(a - b) for a, b in zip(want, row["output_counts"], strict=True))
        assert off <= 4, name  # computed again, an entry may be rounded over an edge


def test_a_loss_scale_that_falls_to_0_stops_no_observation(tmp_path: Path) -> None:
    """Where the forward pass overflows no scale helps, and a scaler halves it out of float32."""
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
    nn.init.ones_(model[0].weight)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=1e-42)
    with headwater.watch(out=tmp_path / "run", every=1) as run:
        for _ in range(30):
            optimiser.zero_grad()
            with torch.autocast("cpu", dtype=torch.float16):
                output = model(torch.full((8, 4), 6e4))
            scaler.scale(output.float().square().mean()).backward()
            scaler.step(optimiser)
            scaler.update()
    record = run.record
    assert record.info.observation["status"] == "complete"
    assert record.pulse["loss_scale"].to_pylist()[-1] == 0
    assert record.pulse["skipped"].to_pylist() == [True] * 30
    (verdict,) = [one for one in judge(record) if one.code == "HW301"]
    (found,) = verdict.findings
    assert found.causes[0].cause == "overflow-in-half"
    assert Path(found.where[0].file).name == Path(__file__).name
    assert "so that the GradScaler skipped 30 steps in a row" in found.message
    assert found.evidence["skips_in_a_row"] == 30
