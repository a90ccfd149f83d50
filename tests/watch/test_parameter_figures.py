"""A step's figures for each parameter, against plain recomputation outside the observer."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import headwater
from headwater.runs.reader import Run

Row = dict[str, Any]


def size(tensor: Tensor | None) -> float:
    assert tensor is not None
    return float(tensor.detach().double().norm())


def rows(run: Run, step: int = 0) -> dict[str, Row]:
    """Return the step's rows by the parameter's name."""
    names = [info.name for info in run.parameters]
    found = [row for row in run.parameter_rows.to_pylist() if row["step"] == step]
    assert len({row["parameter"] for row in found}) == len(found)
    return {names[row["parameter"]]: row for row in found}


def near(value: float) -> Any:
    return pytest.approx(value, rel=1e-6, abs=0)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))


class Figures(dict[str, dict[str, float]]):
    """What the test itself measured, by column and parameter."""

    def take(self, column: str, model: nn.Module, of: Callable[[Tensor], float]) -> None:
        self[column] = {name: of(p) for name, p in model.named_parameters()}

    def compare(self, found: dict[str, Row]) -> None:
        for column, by_name in self.items():
            for name, value in by_name.items():
                assert found[name][column] == near(value), (column, name)


@pytest.mark.parametrize("clip", ["norm", "by hand", "through .data", "replaced", "none"])
def test_accumulated_scaled_and_clipped_gradients_are_told_apart(clip: str, tmp_path: Path) -> None:
    model, figures = network(), Figures()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with headwater.watch(model, optimiser, every=1, out=tmp_path / "run") as run:
        for _ in range(2):  # of the second step it is known that three passes make it
            optimiser.zero_grad()
            for _ in range(3):
                scaler.scale(model(torch.randn(5, 4)).square().mean()).backward()
            figures.take("raw_norm", model, lambda p: size(p.grad))
            figures.take("gradient_max", model, lambda p: float(p.grad.abs().max()))
            scaler.unscale_(optimiser)
            figures.take("unscaled_norm", model, lambda p: size(p.grad))
            clipped_by(clip, model)
            figures.take("clipped_norm", model, lambda p: size(p.grad))
            figures.take("applied_norm", model, lambda p: size(p.grad))
            figures.take("weight_norm", model, size)
            scaler.step(optimiser)
            scaler.update()
    figures.compare(rows(run.record, 1))
    pulse = run.record.pulse.to_pylist()
    assert [row["backwards"] for row in pulse] == [3, 3]
    assert pulse[1]["loss_scale"] == 1024.0
    raw = figures["raw_norm"]
    assert pulse[1]["gradient_norms"] == [near(raw[i.name]) for i in run.record.parameters]
    assert pulse[1]["total_norm"] == near(math.hypot(*raw.values()))


def clipped_by(clip: str, model: nn.Module) -> None:
    if clip == "norm":
        nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
    for p in model.parameters():
        if clip == "by hand":
            p.grad.mul_(0.5)
        elif clip == "through .data":
            p.grad.data.clamp_(-1e-4, 1e-4)
        elif clip == "replaced":
            p.grad = p.grad * 0.25


def test_a_step_that_the_scaler_skips_applies_nothing(tmp_path: Path) -> None:
    model = network()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with headwater.watch(model, optimiser, every=1, out=tmp_path / "run") as run:
        for factor in (1.0, math.inf, 1.0):
            optimiser.zero_grad()
            scaler.scale(model(torch.randn(5, 4)).square().mean() * factor).backward()
            scaler.step(optimiser)
            scaler.update()
    assert run.record.pulse["skipped"].to_pylist() == [False, True, False]
    for row in rows(run.record, 1).values():
        assert row["applied_norm"] is None
        assert row["relative_update"] is None
        assert row["nonfinite_share"] > 0
    assert rows(run.record, 2)["0.weight"]["applied_norm"] > 0


def test_a_fused_optimiser_unscales_by_itself(tmp_path: Path) -> None:
    model, figures = network(), Figures()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with headwater.watch(model, optimiser, every=1, out=tmp_path / "run") as run:
        scaler.scale(model(torch.randn(5, 4)).square().mean()).backward()
        figures.take("raw_norm", model, lambda p: size(p.grad))
        for column in ("unscaled_norm", "clipped_norm", "applied_norm"):
            figures.take(column, model, lambda p: size(p.grad) / 1024)
        scaler.step(optimiser)
        scaler.update()
        optimiser.zero_grad()
        scaler.scale(model(torch.randn(5, 4)).square().mean() * math.inf).backward()
        scaler.step(optimiser)
        scaler.update()
    figures.compare(rows(run.record, 0))
    assert run.record.pulse["skipped"].to_pylist() == [False, True]


def test_two_optimisers_after_one_backward_each_have_their_figures(tmp_path: Path) -> None:
    model, figures = network(), Figures()
    first = torch.optim.SGD(model[0].parameters(), lr=0.1)
    second = torch.optim.Adam(model[2].parameters(), lr=0.01)
    with headwater.watch(model, every=1, out=tmp_path / "run") as run:
        for _ in range(2):
            first.zero_grad()
            second.zero_grad()
            model(torch.randn(5, 4)).square().mean().backward()
            figures.take("raw_norm", model, lambda p: size(p.grad))
            figures.take("applied_norm", model, lambda p: size(p.grad))
            first.step()
            second.step()
    found = rows(run.record, 2) | rows(run.record, 3)
    assert list(rows(run.record, 2)) == ["0.weight", "0.bias"]
    assert list(rows(run.record, 3)) == ["2.weight", "2.bias"]
    figures.compare(found)
    assert found["0.weight"]["learning_rate"] == 0.1
    assert found["2.bias"]["learning_rate"] == 0.01
    assert {row["optimiser"] for row in found.values()} == {0, 1}
    assert rows(run.record, 1)["2.weight"]["raw_norm"] is not None


def test_optimisers_with_unlike_numbers_of_passes_all_have_raw_figures(tmp_path: Path) -> None:
    """Two passes for the critic, one for the generator, as most GANs are written."""
    generator, critic = nn.Linear(2, 3), nn.Linear(3, 1)
    first = torch.optim.SGD(critic.parameters(), lr=0.1)
    second = torch.optim.SGD(generator.parameters(), lr=0.1)
    expected: list[dict[str, float]] = []
    with headwater.watch(every=1, out=tmp_path / "run") as run:
        for _ in range(3):
            first.zero_grad()
            critic(torch.randn(5, 3)).mean().backward()
            critic(generator(torch.randn(5, 2)).detach()).square().mean().backward()
            expected.append({"critic": size(critic.weight.grad)})
            first.step()
            second.zero_grad()
            critic(generator(torch.randn(5, 2))).mean().neg().backward()
            expected.append({"generator": size(generator.weight.grad)})
            second.step()
    shapes = {info.shape: info.name for info in run.record.parameters}
    named = {"critic": shapes[1, 3], "generator": shapes[3, 2]}
    for step, sizes in enumerate(expected):
        for name, value in sizes.items():
            assert rows(run.record, step)[named[name]]["raw_norm"] == near(value)


def test_a_shorter_last_accumulation_has_raw_figures_too(tmp_path: Path) -> None:
    model, figures = network(), Figures()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    with headwater.watch(model, optimiser, every=1, out=tmp_path / "run") as run:
        for passes in (4, 4, 1):
            optimiser.zero_grad()
            for _ in range(passes):
                model(torch.randn(5, 4)).square().mean().backward()
            figures.take("raw_norm", model, lambda p: size(p.grad))
            nn.utils.clip_grad_norm_(model.parameters(), 0.01)
            figures.take("clipped_norm", model, lambda p: size(p.grad))
            optimiser.step()
    figures.compare(rows(run.record, 2))


@pytest.mark.parametrize("clips", [False, True])
def test_a_closure_s_gradient_is_what_its_optimiser_applies(clips: bool, tmp_path: Path) -> None:
    model, figures = network(), Figures()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(5, 4)

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        figures.take("raw_norm", model, lambda p: size(p.grad))
        if clips:
            nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
        figures.take("clipped_norm", model, lambda p: size(p.grad))
        figures.take("applied_norm", model, lambda p: size(p.grad))
        return loss

    with headwater.watch(model, every=1, out=tmp_path / "run") as run:
        for _ in range(2):
            optimiser.step(closure)
        figures.compare(rows(run.record, 1))
        optimiser.step(closure=closure)
    figures.compare(rows(run.record, 2))
    assert all(row["relative_update"] > 0 for row in rows(run.record, 2).values())
    assert all(row["lost_share"] == 0 for row in rows(run.record, 2).values())


def test_lbfgs_steps_once_however_often_it_asks(tmp_path: Path) -> None:
    model, calls = network(), []
    optimiser = torch.optim.LBFGS(model.parameters(), max_iter=4)
    x = torch.randn(5, 4)
    last = Figures()

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        calls.append(loss.item())
        last.take("raw_norm", model, lambda p: size(p.grad))
        last.take("applied_norm", model, lambda p: size(p.grad))
        return loss

    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    with headwater.watch(model, every=1, out=tmp_path / "run") as run:
        optimiser.step(closure)
    (pulse,) = run.record.pulse.to_pylist()
    assert pulse["backwards"] == len(calls) > 1
    found = rows(run.record, 0)
    last.compare(found)
    for name, p in model.named_parameters():
        assert found[name]["weight_norm"] == near(size(before[name]))
        change = size(p.double() - before[name].double()) / size(before[name])
        assert found[name]["relative_update"] == pytest.approx(change, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_a_relative_update_is_the_change_over_the_weight(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    model = network().to(dtype)
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.05)
    before = {name: p.detach().clone().double() for name, p in model.named_parameters()}
    with headwater.watch(model, optimiser, every=1, out=tmp_path / "run") as run:
        model(torch.randn(5, 4, dtype=dtype)).float().square().mean().backward()
        optimiser.step()
    for name, p in model.named_parameters():
        expected = size(p.double() - before[name]) / size(before[name])
        row = rows(run.record)[name]
        assert row["relative_update"] == pytest.approx(expected, rel=1e-5)
        gradient = p.grad
        moving = gradient != 0
        same = p.detach().double() == before[name]
        assert row["lost_share"] == float((moving & same).sum() / moving.sum())


@pytest.mark.parametrize(
    ("dtype", "rate", "lost"),
    [
        (torch.float32, 1e-9, 1.0),
        (torch.float32, 1e-6, 0.0),
        (torch.bfloat16, 1e-3, 1.0),
        (torch.bfloat16, 1e-1, 0.0),
        (torch.float64, 1e-9, 0.0),
    ],
)
def test_updates_below_the_weight_s_spacing_are_lost(
    dtype: torch.dtype, rate: float, lost: float, tmp_path: Path
) -> None:
    weight = nn.Parameter(torch.ones(3, 5, dtype=dtype))
    optimiser = torch.optim.SGD([weight], lr=rate)
    with headwater.watch(optimizer=optimiser, every=1, out=tmp_path / "run") as run:
        weight[:, :4].sum().backward()  # a fifth has no gradient, and so nothing to lose
        optimiser.step()
    (row,) = rows(run.record).values()
    assert row["lost_share"] == lost
    assert row["zero_share"] == pytest.approx(0.2)


def test_a_layer_of_up_to_64_units_lists_all_and_a_larger_one_its_quantiles(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(5, 64), nn.Linear(64, 200), nn.Linear(200, 1))
    expected = {n: p.detach().double().abs().sum(dim=-1) for n, p in model.named_parameters()}
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    with headwater.watch(model, optimiser, every=1, out=tmp_path / "run") as run:
        model(torch.randn(3, 5)).sum().backward()
        optimiser.step()
    found = rows(run.record)
    assert found["0.weight"]["units"] == 64
    assert found["0.weight"]["unit_l1"] == pytest.approx(expected["0.weight"].tolist(), rel=1e-6)
    assert found["1.weight"]["units"] == 200
    ordered = np.sort(expected["1.weight"].numpy())
    quantiles = np.quantile(ordered, np.linspace(0, 1, 65), method="nearest")
    assert found["1.weight"]["unit_l1"] == pytest.approx(quantiles.tolist(), rel=1e-6)
    assert (found["2.weight"]["units"], len(found["2.weight"]["unit_l1"])) == (1, 1)
    assert found["0.bias"]["units"] is None
    assert found["0.bias"]["unit_l1"] is None


def conv1d_of_transformers() -> nn.Module:
    from transformers.pytorch_utils import Conv1D

    return Conv1D(6, 4)


UNITS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], Callable[[Tensor], Tensor]]] = {
    "conv": (lambda: nn.Conv2d(4, 6, 3), (2, 4, 5, 5), lambda w: w.abs().sum((1, 2, 3))),
    "grouped conv": (
        lambda: nn.Conv2d(4, 6, 3, groups=2),
        (2, 4, 5, 5),
        lambda w: w.abs().sum((1, 2, 3)),
    ),
    "transposed conv": (
        lambda: nn.ConvTranspose2d(4, 6, 3),
        (2, 4, 5, 5),
        lambda w: w.abs().sum((0, 2, 3)),
    ),
    "transposed and grouped conv": (
        lambda: nn.ConvTranspose1d(4, 6, 3, groups=2),
        (2, 4, 5),
        lambda w: w.view(2, 2, 3, 3).abs().sum((1, 3)).flatten(),
    ),
    "transformers' Conv1D": (conv1d_of_transformers, (2, 4), lambda w: w.abs().sum(0)),
    "float64 linear": (
        lambda: nn.Linear(4, 6).double(),
        (2, 4),
        lambda w: w.abs().sum(1),
    ),
}


@pytest.mark.parametrize("name", UNITS)
def test_units_are_the_outputs_whatever_the_layout_of_the_weight(name: str, tmp_path: Path) -> None:
    build, shape, l1 = UNITS[name]
    layer = build()
    weight = layer.weight
    with torch.no_grad():
        weight.copy_(torch.randn_like(weight) + torch.arange(weight.numel()).view_as(weight))
    expected = l1(weight.detach().double()).tolist()
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.1)
    with headwater.watch(layer, optimiser, every=1, out=tmp_path / "run") as run:
        layer(torch.randn(shape, dtype=weight.dtype)).sum().backward()
        optimiser.step()
    row = rows(run.record)["weight"]
    assert row["units"] == 6
    assert row["unit_l1"] == pytest.approx(expected, rel=1e-6)


def test_shares_count_entries_in_the_gradient_s_own_dtype(tmp_path: Path) -> None:
    model = nn.ParameterDict(
        {
            "full": nn.Parameter(torch.ones(8)),
            "float16": nn.Parameter(torch.ones(8, dtype=torch.float16)),
            "sparse": nn.Parameter(torch.ones(4, 2)),
            "empty": nn.Parameter(torch.ones(0, 3)),
            "scalar": nn.Parameter(torch.tensor(1.0)),
        }
    )
    with headwater.watch(model, every=1, out=tmp_path / "run") as run:
        loss = (model["full"] * torch.tensor([0, 0, 1e-40, 1, -3, math.inf, math.nan, 2])).sum()
        small = torch.tensor([0, 1e-5, 1e-5, 1, 1, 1, 1, 1], dtype=torch.float16)
        loss = loss + (model["float16"] * small).sum().float()
        picked = torch.nn.functional.embedding(torch.tensor([1, 1]), model["sparse"], sparse=True)
        loss = loss + picked[:, 0].sum() + model["empty"].sum() + 5 * model["scalar"]
        loss.backward()
    found = rows(run.record)
    full, half, sparse = found["full"], found["float16"], found["sparse"]
    assert (full["zero_share"], full["subnormal_share"]) == (0.25, 0.125)
    assert full["nonfinite_share"] == 0.25
    assert math.isnan(full["gradient_max"])
    assert math.isnan(full["raw_norm"])
    assert (half["zero_share"], half["subnormal_share"]) == (0.125, 0.25)
    assert (sparse["zero_share"], sparse["gradient_max"]) == (7 / 8, 2.0)
    assert sparse["raw_norm"] == 2.0
    assert (found["empty"]["raw_norm"], found["empty"]["zero_share"]) == (0.0, 0.0)
    assert (found["scalar"]["raw_norm"], found["scalar"]["gradient_max"]) == (5.0, 5.0)


def test_parameters_without_gradient_or_optimiser_are_known(tmp_path: Path) -> None:
    model = nn.ModuleDict(
        {"used": nn.Linear(3, 1), "unused": nn.Linear(3, 1), "forgotten": nn.Linear(3, 3)}
    )
    model["unused"].bias.requires_grad_(False)
    held = [*model["used"].parameters(), *model["unused"].parameters()]
    optimiser = torch.optim.SGD(held, lr=0.1, weight_decay=0.5)
    with headwater.watch(model, every=1, out=tmp_path / "run") as run:
        for _ in range(2):
            optimiser.zero_grad()
            model["used"](model["forgotten"](torch.randn(5, 3))).sum().backward()
            optimiser.step()
    infos = {info.name: info for info in run.record.parameters}
    assert infos["used.weight"].got_gradient
    assert infos["forgotten.weight"].got_gradient
    assert not infos["unused.weight"].got_gradient
    assert [infos[f"{n}.weight"].optimiser for n in ("used", "unused", "forgotten")] == [0, 0, None]
    assert not infos["unused.bias"].requires_grad
    found = rows(run.record, 1)
    assert found["forgotten.weight"]["raw_norm"] > 0
    assert found["forgotten.weight"]["applied_norm"] is None
    assert found["forgotten.weight"]["optimiser"] is None
    assert found["unused.weight"]["raw_norm"] is None
    assert found["unused.weight"]["applied_norm"] is None
    assert found["unused.weight"]["weight_norm"] == near(size(model["unused"].weight))


def test_gradients_zeroed_in_place_do_not_count_as_received(tmp_path: Path) -> None:
    model = nn.ModuleDict({"used": nn.Linear(3, 1), "unused": nn.Linear(3, 1)})
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    with headwater.watch(model, optimiser, every=1, out=tmp_path / "run") as run:
        optimiser.zero_grad(set_to_none=False)
        model["used"](torch.randn(5, 3)).sum().backward()
        optimiser.step()
    got = {info.name: info.got_gradient for info in run.record.parameters}
    assert got["used.weight"]
    assert not got["unused.weight"]


@pytest.mark.parametrize("known", [True, False])
def test_the_gradient_an_adversary_asks_for_is_neither_a_step_nor_a_loss(
    known: bool, tmp_path: Path
) -> None:
    model, losses = network(), []
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    with headwater.watch(model if known else None, every=1, out=tmp_path / "run") as run:
        for _ in range(3):
            x = torch.randn(5, 4, requires_grad=True)
            (slope,) = torch.autograd.grad(model(x).square().mean(), x)
            optimiser.zero_grad()
            loss = model((x + 0.1 * slope.sign()).detach()).square().mean()
            losses.append(loss.item())
            loss.backward()
            optimiser.step()
    pulse = run.record.pulse.to_pylist()
    assert [row["loss"] for row in pulse] == losses
    assert [row["backwards"] for row in pulse] == [2, 2, 2]


def test_a_loop_that_asks_for_its_parameters_gradients_has_its_loss(tmp_path: Path) -> None:
    model, losses = network(), []
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    with headwater.watch(every=1, out=tmp_path / "run") as run:
        for _ in range(3):
            loss = model(torch.randn(5, 4)).square().mean()
            losses.append(loss.item())
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            for p, gradient in zip(model.parameters(), gradients, strict=True):
                p.grad = gradient
            optimiser.step()
    assert run.record.pulse["loss"].to_pylist() == losses


def test_a_group_added_later_is_held_by_its_optimiser(tmp_path: Path) -> None:
    model = network()
    optimiser = torch.optim.SGD(model[2].parameters(), lr=0.1)
    with headwater.watch(model, every=1, out=tmp_path / "run") as run:
        for step in range(3):
            if step == 2:
                optimiser.add_param_group({"params": list(model[0].parameters()), "lr": 0.01})
            optimiser.zero_grad()
            model(torch.randn(5, 4)).sum().backward()
            optimiser.step()
    assert [info.optimiser for info in run.record.parameters] == [0, 0, 0, 0]
    row = rows(run.record, 2)["0.weight"]
    assert row["learning_rate"] == 0.01
    assert row["applied_norm"] > 0


def test_a_layer_put_in_later_has_its_place_and_its_name(tmp_path: Path) -> None:
    model = network()
    with headwater.watch(model, every=1, out=tmp_path / "run") as run:
        model(torch.randn(5, 4)).sum().backward()
        model.zero_grad()
        model[2] = nn.Sequential(nn.Linear(6, 3), nn.Linear(3, 1))  # a new head
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        model(torch.randn(5, 4)).sum().backward()
        optimiser.step()
    names = {n for n, _ in model.named_parameters()}
    ledger = run.ledger()
    assert set(ledger.names) == names
    infos = {info.name: info for info in run.record.parameters}
    assert infos["2.1.weight"].module == "2.1"
    assert infos["2.1.weight"].module_type == "Linear"
    assert {"path": "2.1", "type": "Linear"} in run.record.info.modules


def test_what_is_thawed_and_cast_later_is_known_as_it_is(tmp_path: Path) -> None:
    model = network()
    model[0].requires_grad_(False)
    with headwater.watch(model, every=1, out=tmp_path / "run") as run:
        model(torch.randn(5, 4)).sum().backward()
        model.zero_grad()
        model[0].requires_grad_(True)
        model.double()
        model(torch.randn(5, 4).double()).sum().backward()
    infos = {info.name: info for info in run.record.parameters}
    assert infos["0.weight"].requires_grad
    assert infos["0.weight"].got_gradient
    assert infos["0.weight"].dtype == "float64"


def test_optimisers_that_step_within_the_backward_pass_have_their_figures(tmp_path: Path) -> None:
    model, figures = network(), Figures()
    optimisers = {p: torch.optim.SGD([p], lr=0.1) for p in model.parameters()}
    sizes: dict[Tensor, float] = {}

    def step(p: Tensor) -> None:
        sizes[p] = size(p.grad)
        optimisers[p].step()
        optimisers[p].zero_grad()

    for p in model.parameters():
        p.register_post_accumulate_grad_hook(step)
    with headwater.watch(model, every=1, out=tmp_path / "run") as run:
        model(torch.randn(5, 4)).square().mean().backward()
    figures["applied_norm"] = {name: sizes[p] for name, p in model.named_parameters()}
    found: dict[str, Row] = {}
    for number in range(4):
        found |= {n: row for n, row in rows(run.record, number).items() if row["applied_norm"]}
    figures.compare(found)
    ledger = run.ledger(0)
    for name, value in figures["applied_norm"].items():
        assert 10 ** ledger.decades(name) == near(value)
