"""However an observed block ends, nothing of ours is left in the process or on the graphs."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from surroundings import differences, frames_of_ours, surroundings
from torch import Tensor, nn

import headwater

torch.optim.SGD([nn.Parameter(torch.ones(1))])  # the first one changes its class
BOOM: list[tuple[str, type[BaseException]]] = []
"""Where the next step is to raise, and what; as a list, so that a graph of one step has it too."""


def explode(place: str) -> None:
    for where, kind in BOOM:
        if where == place:
            raise kind("the user's own")


class Fragile(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        explode("forward")
        return x * 2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        explode("backward")
        return gradient * 2


class FragileSGD(torch.optim.SGD):
    def step(self, closure: Any = None) -> Any:
        explode("step")
        weights = tuple(self.param_groups[0]["params"])
        with torch.autograd._unsafe_preserve_version_counter(weights):  # for the kept graph
            return super().step(closure)


class Training:
    """A network whose every part can raise, and that keeps its last graph."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1))
        self.optimiser = FragileSGD(self.model.parameters(), lr=0.1)
        self.loss = torch.zeros(())

    def step(self) -> None:
        self.optimiser.zero_grad()
        hidden = self.model[:2](torch.ones(5, 4))
        hidden.register_hook(lambda gradient: explode("hook"))
        self.loss = Fragile.apply(self.model[2](hidden)).square().mean()
        self.loss.backward(retain_graph=True)
        self.optimiser.step()

    def afterwards(self) -> None:
        """Go over the last graph once more, then train on."""
        if self.loss.requires_grad:
            self.loss.backward()
        self.step()


@pytest.fixture
def training() -> Iterator[Training]:
    BOOM.clear()
    yield Training()
    BOOM.clear()


def assert_nothing_remains(before: dict[str, Any], training: Training) -> None:
    assert differences(before, surroundings()) == {}
    BOOM.clear()
    assert frames_of_ours(training.afterwards) == []


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_after_a_normal_end(steps: int, training: Training, tmp_path: Path) -> None:
    before = surroundings()
    with headwater.watch(training.model, out=tmp_path / "run", every=1):
        inside = surroundings()
        for _ in range(steps):
            training.step()
    assert "torch.autograd._engine_run_backward" in differences(before, inside), "proves nothing"
    assert inside["threads"] == before["threads"], "a script may join all threads it finds"
    assert_nothing_remains(before, training)


ENDINGS = (ValueError, KeyboardInterrupt, SystemExit, GeneratorExit)


@pytest.mark.parametrize("kind", ENDINGS)
@pytest.mark.parametrize("place", ["forward", "backward", "hook", "step", "between"])
@pytest.mark.parametrize("at", [0, 2])
def test_after_an_exception_of_the_user_s(
    place: str,
    kind: type[BaseException],
    at: int,
    training: Training,
    tmp_path: Path,
) -> None:
    before = surroundings()

    def train() -> None:
        with headwater.watch(out=tmp_path / "run", every=1) as run:
            runs.append(run)
            for _ in range(at):
                training.step()
            BOOM.append((place, kind))
            training.step()
            explode("between")

    runs: list[headwater.watch] = []
    with pytest.raises(kind, match="the user's own"):
        train()
    assert_nothing_remains(before, training)
    info = runs[0].record.info
    assert info.exit is not None
    assert info.exit["exception"] == f"{kind.__name__}: the user's own"
    assert info.observation["status"] == "complete"


@pytest.mark.parametrize("kind", ENDINGS)
@pytest.mark.parametrize("place", ["forward", "backward", "hook", "step"])
def test_a_training_that_catches_its_exception_is_observed_on(
    place: str,
    kind: type[BaseException],
    training: Training,
    tmp_path: Path,
) -> None:
    before = surroundings()
    with headwater.watch(training.model, out=tmp_path / "run", every=1) as run:
        training.step()
        BOOM.append((place, kind))
        with pytest.raises(kind):
            training.step()
        BOOM.clear()
        for _ in range(3):
            training.step()
    assert_nothing_remains(before, training)
    record = run.record
    assert record.pulse.num_rows == 4
    ledger = record.ledger(3)
    assert ledger.measured("0.weight") == pytest.approx(ledger.decades("0.weight"), abs=1e-5)
    assert {site.user_file for site in record.sites if site.kind == "activation"} == {__file__}


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError("an exception that cannot be shown")


def test_an_exception_that_cannot_be_shown_is_still_the_one_that_is_raised(tmp_path: Path) -> None:
    def train() -> None:
        with headwater.watch(out=tmp_path / "run") as run:
            runs.append(run)
            raise Broken

    runs: list[headwater.watch] = []
    with pytest.raises(Broken):
        train()
    assert runs[0].record.info.exit == {
        "code": None,
        "exception": "Broken: (its text cannot be shown)",
    }


@pytest.mark.parametrize("inner_first", [True, False])
def test_of_nested_blocks_each_ends_on_its_own(
    inner_first: bool, training: Training, tmp_path: Path
) -> None:
    before = surroundings()
    outer = headwater.watch(out=tmp_path / "outer", every=1)
    inner = headwater.watch(out=tmp_path / "inner", every=2)
    outer.__enter__()
    training.step()
    inner.__enter__()
    training.step()
    training.step()
    first, last = (inner, outer) if inner_first else (outer, inner)
    first.__exit__(None, None, None)
    training.step()
    last.__exit__(None, None, None)
    assert_nothing_remains(before, training)
    rows = (outer.record.pulse.num_rows, inner.record.pulse.num_rows)
    assert rows == ((4, 2) if inner_first else (3, 3))
    assert outer.record.sampled_steps == tuple(range(rows[0]))
    for run in (outer, inner):
        assert all(site.user_line for site in run.record.sites)


def test_one_watch_may_be_entered_again_and_within_itself(
    training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = surroundings()
    run = headwater.watch(every=1)
    with run:
        training.step()
        with run:
            training.step()
    with run:
        training.step()
    assert_nothing_remains(before, training)
    rows = [headwater.Run.open(f).pulse.num_rows for f in sorted(Path("headwater-runs").iterdir())]
    assert sorted(rows) == [1, 1, 2]
    assert run.record.pulse.num_rows == 1


def test_a_decorated_function_leaves_nothing_however_it_ends(
    training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = surroundings()

    @headwater.watch(training.model, every=1)
    def train(steps: int) -> int:
        for _ in range(steps):
            training.step()
        return train(steps - 1) + 1 if steps else 0

    assert train(2) == 2
    assert_nothing_remains(before, training)
    BOOM.append(("backward", KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        train(1)
    assert_nothing_remains(before, training)
    assert len(list(Path("headwater-runs").iterdir())) == 4


def test_a_block_within_a_generator_that_is_closed_leaves_nothing(
    training: Training, tmp_path: Path
) -> None:
    before = surroundings()

    def losses() -> Iterator[Tensor]:
        with headwater.watch(out=tmp_path / "run", every=1):
            while True:
                training.step()
                yield training.loss

    steps = losses()
    next(steps)
    next(steps)
    steps.close()
    assert_nothing_remains(before, training)
    ended = headwater.Run.open(tmp_path / "run").info.exit
    assert ended is not None
    assert ended["exception"] == "GeneratorExit"


def test_two_threads_with_a_block_each_keep_apart_and_leave_nothing(
    training: Training, tmp_path: Path
) -> None:
    before = surroundings()
    together = threading.Barrier(2)
    rows: dict[str, int] = {}
    errors: list[BaseException] = []

    def train(name: str, steps: int) -> None:
        model = nn.Sequential(nn.Linear(3, 3), nn.Sigmoid(), nn.Linear(3, 1))
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        try:
            with headwater.watch(model, out=tmp_path / name, every=1) as run:
                together.wait()
                for _ in range(steps):
                    optimiser.zero_grad()
                    model(torch.ones(2, 3)).sum().backward()
                    optimiser.step()
            rows[name] = run.record.pulse.num_rows
        except BaseException as error:
            errors.append(error)

    arguments = (("a", 30), ("b", 20))
    threads = [threading.Thread(target=train, args=each) for each in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert rows == {"a": 30, "b": 20}
    assert_nothing_remains(before, training)
    for name in "ab":
        record = headwater.Run.open(tmp_path / name)
        assert record.info.observation["status"] == "complete"
        assert len(record.parameters) == 4


@pytest.mark.parametrize("name", ["backward", "_engine_run_backward"])
def test_who_wraps_torch_s_function_while_we_hold_it_keeps_his_wrapper(
    name: str, training: Training, tmp_path: Path
) -> None:
    calls: list[int] = []
    before = getattr(torch.autograd, name)

    def wrap(inner: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            calls.append(1)
            return inner(*args, **kwargs)

        return wrapper

    try:
        with headwater.watch(out=tmp_path / "one", every=1) as one:
            wrapper = wrap(getattr(torch.autograd, name))
            setattr(torch.autograd, name, wrapper)
            training.step()
        assert getattr(torch.autograd, name) is wrapper
        training.step()
        with headwater.watch(out=tmp_path / "two", every=1) as two:
            training.step()
        assert getattr(torch.autograd, name) is wrapper
        assert len(calls) == 3
        assert (one.record.pulse.num_rows, two.record.pulse.num_rows) == (1, 1)
        assert two.record.pulse["backwards"].to_pylist() == [1], "heard twice"
        passing = frames_of_ours(training.afterwards)
        assert set(passing) <= {"Door._run_backward.<locals>.run_backward"}
    finally:
        setattr(torch.autograd, name, before)


def test_a_model_can_be_copied_saved_and_swapped_in_the_middle(
    training: Training, tmp_path: Path
) -> None:
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        with headwater.watch(training.model, training.optimiser, out=tmp_path / "r", every=1):
            training.step()
            copied = copy.deepcopy(training.model)
            torch.save(training.model, tmp_path / "model.pt")
            torch.save(training.optimiser.state_dict(), tmp_path / "optimiser.pt")
            del training.loss  # the graph holds the parameters
            training.loss = torch.zeros(())
            training.model.to(torch.float64).to(torch.float32)
            training.step()
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
    again = torch.load(tmp_path / "model.pt", weights_only=False)
    for one, other in zip(copied.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
        assert not one._backward_hooks
