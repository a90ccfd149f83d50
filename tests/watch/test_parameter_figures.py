"""A step's gradients, raw to applied, against plain recomputation outside the observer."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from parameter_rows import Figures, Row, near, network, rows, size
from torch import Tensor, nn

import headwater


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


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
