"""Nothing lives longer for being observed: graphs, activations, gradients, losses, models."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import headwater


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    """What goes, goes by its count of references: a cycle of ours would keep a graph for long."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Weighty(torch.autograd.Function):
    """Keeps a Python object on its node, whose end tells that of the graph."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: list[weakref.ref[Any]]) -> Tensor:
        ctx.kept = Kept()
        kept.append(weakref.ref(ctx.kept))
        return x * 1

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * 1, None


class Kept:
    """Something to refer to weakly."""


def alive(references: list[weakref.ref[Any]]) -> list[bool]:
    return [reference() is not None for reference in references]


def lives(every: int | None, folder: Path) -> list[list[bool]]:
    """Train in several ways; return what was alive at each of many moments."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    moments: list[list[bool]] = []
    seen: list[weakref.ref[Any]] = []

    def look() -> None:
        moments.append(alive(seen))

    block = nullcontext() if every is None else headwater.watch(out=folder, every=every)
    with block:
        for number in range(4):
            del seen[:]
            optimiser.zero_grad(set_to_none=True)
            hidden = Weighty.apply(model[:2](torch.randn(3, 4)), seen)
            loss = model[2](hidden).square().mean()
            hidden.register_hook(lambda gradient: seen.append(weakref.ref(gradient)))
            seen.extend(map(weakref.ref, (hidden, loss)))
            look()
            del hidden
            look()
            if number % 2:
                loss.backward(retain_graph=True)
                look()
                gradients = torch.autograd.grad(loss, list(model.parameters()))
                seen.extend(map(weakref.ref, gradients))
                look()
                del gradients
            else:
                loss.backward()
            look()
            seen.extend(weakref.ref(p.grad) for p in model.parameters())
            del loss
            look()
            optimiser.step()
            look()
            optimiser.zero_grad(set_to_none=True)
            look()
        states = [weakref.ref(model), weakref.ref(optimiser), weakref.ref(model[0].weight)]
        seen.extend(states)
        del optimiser, model
        look()
    look()
    return moments


@pytest.mark.parametrize("every", [1, 2])
def test_all_is_freed_when_it_would_be(every: int, tmp_path: Path) -> None:
    lives(None, tmp_path)  # the first optimiser of a process keeps a frame
    plain = lives(None, tmp_path)
    assert lives(None, tmp_path) == plain, "not the same by itself"
    assert [moment for moment in plain if any(moment)], "proves nothing"
    assert not any(plain[-1])
    assert lives(every, tmp_path / "run") == plain


def test_a_pass_that_raises_keeps_nothing(tmp_path: Path) -> None:
    model = nn.Linear(3, 3)

    def fail(_gradient: Tensor) -> None:
        raise ValueError("the user's own")

    kept: list[weakref.ref[Any]] = []

    def step() -> None:
        hidden = Weighty.apply(model(torch.ones(2, 3)), kept).tanh()
        hidden.register_hook(fail)
        loss = hidden.sum()
        with pytest.raises(ValueError, match="own"):
            loss.backward()

    with headwater.watch(out=tmp_path / "run", every=1) as run:
        for _ in range(3):
            step()
        gc.collect()  # the exception and its frames are a cycle of pytest's
        assert alive(kept) == [False] * 3
    assert run.record.info.observation["status"] == "complete"


def test_who_keeps_the_run_does_not_keep_the_model(tmp_path: Path) -> None:
    model = nn.Linear(3, 3)
    optimiser = torch.optim.Adam(model.parameters())
    with headwater.watch(model, optimiser, out=tmp_path / "run", every=1) as run:
        for _ in range(3):
            model(torch.ones(2, 3)).sum().backward()
            optimiser.step()
    references = [weakref.ref(model), weakref.ref(optimiser), weakref.ref(model.weight)]
    del model, optimiser
    gc.collect()
    assert alive(references) == [False] * 3
    assert run.record.pulse.num_rows == 3


def test_graphs_of_ever_new_shapes_do_not_pile_up(tmp_path: Path) -> None:
    model = nn.Linear(3, 3)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    with headwater.watch(model, out=tmp_path / "run", every=1) as run:
        for length in range(1, 100):
            x = torch.ones(2, 3)
            for _ in range(length % 90):
                x = model(x)
            (x.sum() + model.bias.sum()).backward()
            optimiser.step()
        assert run._observation is not None
        assert len(run._observation._sampler._shapes) <= 64
    assert len(run.record.sampled_steps) == 99
