"""HW105 where the gradient is gone at the step, and HW202 where a softmax is over one unit."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import headwater
from headwater.records import Finding
from headwater.rules import judge
from headwater.rules.ordering import misplaced

Step = Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor], None]


def _stepping_first(
    model: nn.Module, optimiser: torch.optim.Optimizer, x: Tensor, y: Tensor
) -> None:
    optimiser.zero_grad()
    optimiser.step()  # early
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()


def _zeroing_between(
    model: nn.Module, optimiser: torch.optim.Optimizer, x: Tensor, y: Tensor
) -> None:
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimiser.zero_grad(set_to_none=False)  # late
    optimiser.step()


def _right(model: nn.Module, optimiser: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    loss = nn.functional.cross_entropy(model(x), y)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def _warming_up(model: nn.Module, optimiser: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    optimiser.param_groups[0]["lr"] = 0.0
    _right(model, optimiser, x, y)


def _over_one(model: nn.Module, optimiser: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    sure = model(x)[:, :1].softmax(-1)[:, 0]
    optimiser.zero_grad()
    nn.functional.binary_cross_entropy(sure, y.float()).backward()
    optimiser.step()


def _findings(step: Step, folder: Path, *, outputs: int = 3) -> dict[str, Finding]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, outputs))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    with headwater.watch(model, optimiser, every=8, out=folder) as run:
        for _ in range(80):
            x = torch.randn(16, 4)
            step(model, optimiser, x, (x[:, 0] > 0).long())
    verdicts = judge(run.record)
    return {one.code: one for verdict in verdicts for one in verdict.findings}


@pytest.mark.parametrize(
    ("step", "mark", "what"),
    [
        (_stepping_first, "# early", "step() runs before backward()"),
        (_zeroing_between, "# late", "zero_grad() runs between backward() and step()"),
    ],
)
def test_a_gradient_that_is_gone_at_the_step_names_the_call(
    step: Step, mark: str, what: str, tmp_path: Path
) -> None:
    found = _findings(step, tmp_path / "run")["HW105"]
    assert found.severity == "error"
    assert [cause.cause for cause in found.causes] == ["step-before-backward"]
    assert what in found.message
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    assert lines[found.where[0].line - 1].endswith(mark)


@pytest.mark.parametrize("step", [_right, _warming_up])
def test_a_gradient_that_is_there_at_the_step_is_healthy(step: Step, tmp_path: Path) -> None:
    assert "HW105" not in _findings(step, tmp_path / "run")


def test_a_softmax_over_one_unit_is_why_nothing_is_learnt(tmp_path: Path) -> None:
    found = _findings(_over_one, tmp_path / "run", outputs=1)["HW202"]
    assert [cause.cause for cause in found.causes] == ["softmax-over-one"]
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    assert ".softmax(-1)" in lines[found.where[0].line - 1]


def test_a_loop_whose_owners_are_several_is_not_guessed_at() -> None:
    gan = (
        "for x in data:\n    a.zero_grad()\n    f(x).backward()\n    a.step()\n"
        "    g(x).backward()\n    b.zero_grad()\n    b.step()\n"
    )
    assert misplaced(gan) is None


def test_a_scheduler_steps_when_it_likes() -> None:
    source = (
        "for x in data:\n    optimizer.zero_grad()\n    scheduler.step()\n"
        "    f(x).backward()\n    optimizer.step()\n"
    )
    assert misplaced(source) is None


def test_a_source_that_does_not_parse_tells_nothing() -> None:
    assert misplaced("for x in\n") is None


def test_the_loop_that_ran_is_meant() -> None:
    early = "for x in data:\n    o.zero_grad()\n    o.step()\n    f(x).backward()\n"
    late = "for x in data:\n    f(x).backward()\n    o.zero_grad()\n    o.step()\n\n"
    assert misplaced(early + late, frozenset({6})) == ("zero_grad", 7)
