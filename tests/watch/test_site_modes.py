"""Sites beside the script's own anomaly mode, in failing passes, and under the compiler."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest
import torch
from observed_sites import sites, watched
from torch import Tensor, nn

import headwater

HERE = __file__


LINES = Path(HERE).read_text(encoding="utf-8").splitlines()


def line_of(marker: str) -> int:
    """Return the line of this file that ends in ``# at: marker``."""
    (found,) = [n for n, text in enumerate(LINES, 1) if text.endswith(f"# at: {marker}")]
    return found


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def failing_step(weight: Tensor) -> str:
    """Run a step whose backward makes a NaN; return what anomaly mode says of it."""
    said = io.StringIO()
    with warnings.catch_warnings(record=True) as caught, redirect_stderr(said):
        warnings.simplefilter("always")
        root = torch.sqrt(weight * 0)  # at: nan
        with pytest.raises(RuntimeError, match="returned nan values") as raised:
            (root * 0).sum().backward()
    return str(raised.value) + said.getvalue() + "".join(str(w.message) for w in caught)


@pytest.fixture
def _anomaly_mode_off() -> Iterator[None]:
    yield
    torch.autograd.set_detect_anomaly(False)


@pytest.mark.usefixtures("_anomaly_mode_off")
@pytest.mark.parametrize("when", ["before", "within"])
def test_the_user_s_own_anomaly_mode_says_what_it_says_unobserved(
    when: str, tmp_path: Path
) -> None:
    weight = nn.Parameter(torch.ones(3))

    def train() -> str:
        if when == "within":
            torch.autograd.set_detect_anomaly(True)
        return failing_step(weight)

    plain = ""
    if when == "before":
        torch.autograd.set_detect_anomaly(True)
        plain = failing_step(weight)
    said: list[str] = []
    run = watched(tmp_path / "run", lambda: said.append(train()))
    assert torch.is_anomaly_enabled()
    assert torch.is_anomaly_check_nan_enabled()
    (site,) = sites(run, "Sqrt")
    assert (site.line, site.function) == (line_of("nan"), "failing_step")
    assert "in failing_step" in said[0]
    assert "headwater/watch/" not in said[0]
    if plain:
        inner = [text.partition("in failing_step")[2] for text in (plain, said[0])]
        assert inner[0] == inner[1]
        assert "sqrt" in inner[0]


@pytest.mark.usefixtures("_anomaly_mode_off")
@pytest.mark.parametrize("mode", [True, False])
def test_a_script_that_sets_anomaly_mode_at_its_top_has_it_and_its_lines(
    mode: bool, tmp_path: Path
) -> None:
    weight = nn.Parameter(torch.ones(3))
    seen: list[bool] = []

    def train() -> None:
        torch.autograd.set_detect_anomaly(mode)
        seen.append(torch.is_anomaly_enabled())
        weight.exp().sum().backward()  # at: top

    run = watched(tmp_path / "run", train)
    assert seen == [mode]
    assert torch.is_anomaly_enabled() is mode
    (site,) = sites(run, "Exp")
    assert site.line == line_of("top")


def test_a_backward_that_fails_prints_nothing_of_ours(tmp_path: Path) -> None:
    weight = nn.Parameter(torch.ones(3))

    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Any:  # type: ignore[override]
            raise ValueError("the user's own fault")

    def train() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(ValueError, match="the user's own fault"):
                Broken.apply(weight.exp()).sum().backward()

    run = watched(tmp_path / "run", train)
    assert run.info.observation["status"] == "complete"
    assert not torch.is_anomaly_enabled()


class Compiled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
        self.outside = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.outside(self.inside(x))


@pytest.mark.parametrize("eager_samples", [False, True])
def test_a_compiled_region_is_closed_unless_samples_run_eagerly(
    eager_samples: bool, tmp_path: Path
) -> None:
    torch.compiler.reset()
    model = Compiled()
    model.inside = torch.compile(model.inside, backend="aot_eager")
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    with headwater.watch(
        model, optimiser, every=2, eager_samples=eager_samples, out=tmp_path / "run"
    ) as run:
        for _ in range(4):
            optimiser.zero_grad()
            model(torch.randn(3, 4)).sum().backward()
            optimiser.step()
    record = run.record
    kinds = {site.kind for site in record.sites}
    assert ("compiled" in kinds) is not eager_samples
    assert bool(sites(record, "Tanh")) is eager_samples
    assert (record.info.unseen["compiled_nodes"] == 0) is eager_samples
    share = record.info.unseen["compiled_parameter_share"]
    assert share == pytest.approx(0.0 if eager_samples else 20 / 25)
    for step in (0, 1, 2):
        assert set(run.ledger(step).names) == {n for n, _ in Compiled().named_parameters()}
    assert record.parameter_rows.num_rows == 3 * 4
    assert record.info.unknown_operations == {}
    torch.compiler.reset()
