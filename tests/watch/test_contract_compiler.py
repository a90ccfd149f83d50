"""What torch compiles, and how often, is the same under observation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from programs import bits
from torch import Tensor, nn
from torch._dynamo.utils import counters

import headwater

Body = Callable[[], Tensor]


@pytest.fixture(autouse=True)
def afresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Parts:
    """A model and what trains it."""

    def __init__(self) -> None:
        torch._dynamo.reset()
        counters.clear()
        torch.manual_seed(3)
        self.model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1))
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=4.0)

    def loss(self, rows: int = 6) -> Tensor:
        return self.model(torch.randn(rows, 4)).square().mean()


def a_compiled_model(parts: Parts) -> Body:
    compiled = torch.compile(parts.model, backend="aot_eager")
    rows = iter([6, 6, 6, 3, 5, 6, 2, 9])

    def body() -> Tensor:
        loss = compiled(torch.randn(next(rows), 4)).square().mean()
        loss.backward()
        parts.optimiser.step()
        return loss

    return body


def a_compiled_step_with_backward_in_it(parts: Parts) -> Body:
    @torch.compile(backend="eager")
    def body() -> Tensor:
        loss = parts.loss()
        loss.backward()
        return loss * 2

    def step() -> Tensor:
        loss = body()
        parts.optimiser.step()
        return loss

    return step


def a_compiled_step_with_all_in_it(parts: Parts) -> Body:
    @torch.compile(backend="eager")
    def body() -> Tensor:
        loss = parts.loss()
        loss.backward()
        parts.optimiser.step()
        parts.optimiser.zero_grad()
        return loss * 2

    return body


def a_compiled_call_of_grad(parts: Parts) -> Body:
    @torch.compile(backend="eager")
    def body() -> Tensor:
        gradients = torch.autograd.grad(parts.loss(), list(parts.model.parameters()))
        return torch.stack([gradient.sum() for gradient in gradients])

    return body


def a_compiled_optimiser(parts: Parts) -> Body:
    step = torch.compile(parts.optimiser.step, backend="eager")

    def body() -> Tensor:
        loss = parts.loss()
        loss.backward()
        step()
        return loss

    return body


def a_compiled_use_of_a_gradient_scaler(parts: Parts) -> Body:
    @torch.compile(backend="eager")
    def scaled() -> Any:
        return parts.scaler.scale(parts.loss())

    def body() -> Tensor:
        loss: Tensor = scaled()
        loss.backward()
        parts.scaler.step(parts.optimiser)
        parts.scaler.update()
        return loss

    return body


def compiled_autograd(parts: Parts) -> Body:
    compiled = torch.compile(parts.model, backend="aot_eager")

    def body() -> Tensor:
        with torch._dynamo.config.patch(compiled_autograd=True):
            loss = compiled(torch.randn(6, 4)).square().mean()
            torch.compile(loss.backward, backend="aot_eager")()
        parts.optimiser.step()
        return loss

    return body


def scripted_code_that_asks_for_gradients(parts: Parts) -> Body:
    def force(x: Tensor) -> Tensor:
        energy = x.square().sum()
        slope = torch.autograd.grad([energy], [x], create_graph=True)[0]
        assert slope is not None
        return slope

    def body() -> Tensor:
        scripted = torch.jit.script(force)
        loss = parts.loss() + scripted(torch.randn(3, requires_grad=True)).square().sum()
        loss.backward()
        parts.optimiser.step()
        return loss

    return body


KINDS = (
    a_compiled_model,
    a_compiled_step_with_backward_in_it,
    a_compiled_step_with_all_in_it,
    a_compiled_call_of_grad,
    a_compiled_optimiser,
    a_compiled_use_of_a_gradient_scaler,
    compiled_autograd,
    scripted_code_that_asks_for_gradients,
)


def outcome(kind: Callable[[Parts], Body], block: Any, steps: int) -> dict[str, Any]:
    parts = Parts()
    with block:
        body = kind(parts)
        found = [bits(body()) for _ in range(steps)]
    return {
        "results": found,
        "weights": [bits(parameter) for parameter in parts.model.parameters()],
        "gradients": [bits(parameter.grad) for parameter in parts.model.parameters()],
        "graphs": dict(counters["stats"]),
        "breaks": sum(counters["graph_break"].values()),
        "recompiled": dict(counters["recompiles"]),
        "frames": counters["frames"]["total"],
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_compiler_does_not_notice(
    kind: Callable[[Parts], Body], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    outcome(kind, nullcontext(), 6)  # once, for what torch keeps
    plain = outcome(kind, nullcontext(), 6)
    run = headwater.watch(out=tmp_path / "run", every=2)
    observed = outcome(kind, run, 6)
    # A function of torch's that runs our hooks may be passed over, but none is compiled for us.
    assert observed.pop("frames") <= plain.pop("frames")
    assert observed == plain
    assert run.record.info.observation["status"] == "complete"
    assert "stopped observing" not in capfd.readouterr().err
