"""Sites: the source line, function, module and names that each operation is put down to."""

from __future__ import annotations

import functools
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from observed_sites import sites, summaries, watched
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

HERE = __file__


LINES = Path(HERE).read_text(encoding="utf-8").splitlines()


def line_of(marker: str) -> int:
    """Return the line of this file that ends in ``# at: marker``."""
    (found,) = [n for n, text in enumerate(LINES, 1) if text.endswith(f"# at: {marker}")]
    return found


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        h = x @ self.weight  # at: matrix product
        return torch.sigmoid(h)  # at: functional sigmoid


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Inner(), Inner()])
        self.act = nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + self.act(block(x))  # at: residual
        return x


def test_a_functional_call_stands_on_its_line_in_its_function_and_module(tmp_path: Path) -> None:
    model = Outer()
    run = watched(tmp_path / "run", lambda: model(torch.randn(3, 4)).sum().backward(), model)
    (first, second) = sorted(sites(run, "Sigmoid"), key=lambda site: site.module)
    assert (first.module, second.module) == ("blocks.0", "blocks.1")
    assert first.file == first.user_file == HERE
    assert first.line == first.user_line == line_of("functional sigmoid")
    assert first.function == "forward"
    assert first.kind == "activation"
    assert {site.line for site in sites(run, "Mm")} == {line_of("matrix product")}


def test_a_module_of_torch_stands_on_the_line_that_calls_it(tmp_path: Path) -> None:
    model = Outer()
    run = watched(tmp_path / "run", lambda: model(torch.randn(3, 4)).sum().backward(), model)
    (site,) = sites(run, "Tanh")
    assert (site.module, site.line) == ("act", line_of("residual"))


def test_modules_in_a_sequential_share_a_line_and_keep_their_paths(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Tanh(), nn.Linear(4, 4)), nn.Tanh())

    def train() -> None:
        model(torch.randn(3, 4)).sum().backward()  # at: sequential

    run = watched(tmp_path / "run", train, model)
    assert sorted(site.module for site in sites(run, "Tanh")) == ["1.0", "2"]
    assert sorted(site.module for site in sites(run, "Addmm")) == ["0", "1.1"]
    assert {site.line for site in run.sites} == {line_of("sequential")}
    assert {site.function for site in run.sites} == {"train"}


def test_a_shared_module_is_one_site_with_a_call_each_time(tmp_path: Path) -> None:
    layer = nn.Linear(4, 4)
    model = nn.Sequential(layer, nn.Tanh(), layer, nn.Sigmoid(), layer)
    run = watched(tmp_path / "run", lambda: model(torch.randn(3, 4)).sum().backward(), model)
    (summary,) = summaries(run, "Addmm")
    assert (summary.site.module, summary.calls) == ("0", 3)
    assert set(run.ledger().names) == {"0.weight", "0.bias"}


def test_ten_calls_of_one_line_are_one_site_in_forward_order(tmp_path: Path) -> None:
    weight = nn.Parameter(torch.randn(4))
    scales = [0.5 + 0.25 * i for i in range(10)]

    def train() -> None:
        x = weight.exp()
        for scale in scales:
            x = x * scale  # at: loop
        x.square().sum().backward()

    run = watched(tmp_path / "run", train)
    (summary,) = [s for s in summaries(run, "Mul") if s.site.line == line_of("loop")]
    assert summary.calls == 10
    assert [row["call"] for row in summary.rows] == list(range(10))
    found = [10**gain for gain in summary.gains if gain is not None]
    assert found == pytest.approx(scales, rel=1e-6)


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_loop_of_checkpointed_calls_is_in_forward_order_too(
    reentrant: bool, tmp_path: Path
) -> None:
    start = nn.Parameter(torch.randn(4))
    scales = [0.5 + 0.25 * i for i in range(5)]

    def train() -> None:
        x = start.exp()
        for scale in scales:
            x = checkpoint(lambda h, s: h * s, x, scale, use_reentrant=reentrant)  # at: checkpoint
        x.square().sum().backward()

    for _ in range(2):
        run = watched(tmp_path / f"run{_}", train)
        (summary,) = [s for s in summaries(run, "Mul") if s.site.function == "<lambda>"]
        assert [row["call"] for row in summary.rows] == list(range(5))
        found = [10**gain for gain in summary.gains if gain is not None]
        assert found == pytest.approx(scales, rel=1e-6)
        assert summary.site.line == line_of("checkpoint")


def library(source: str) -> dict[str, Any]:
    """Return the names that a module of an installed package with this source would have."""
    file = str(Path(sysconfig.get_path("purelib")) / "some_library" / "layers.py")
    names: dict[str, Any] = {"__name__": "some_library.layers"}
    exec(compile(source, file, "exec"), names)
    return names


def test_a_library_s_line_comes_with_the_user_s_line_that_led_there(tmp_path: Path) -> None:
    act = library("import torch\n\ndef act(x):\n    return torch.tanh(x)\n")["act"]
    weight = nn.Parameter(torch.randn(4))

    def train() -> None:
        act(weight).sum().backward()  # at: library

    (site,) = sites(watched(tmp_path / "run", train), "Tanh")
    assert site.file.endswith("some_library/layers.py")
    assert (site.line, site.function) == (4, "act")
    assert (site.user_file, site.user_line) == (HERE, line_of("library"))


def test_a_library_whose_name_begins_like_torch_s_is_a_library(tmp_path: Path) -> None:
    file = Path(torch.__file__).parents[1] / "torchvision_like" / "models.py"
    names: dict[str, Any] = {}
    exec(compile("import torch\ndef act(x):\n    return torch.tanh(x)\n", str(file), "exec"), names)
    weight = nn.Parameter(torch.randn(4))
    run = watched(tmp_path / "run", lambda: names["act"](weight).sum().backward())
    (site,) = sites(run, "Tanh")
    assert (site.file, site.line, site.function) == (str(file), 3, "act")
    assert site.user_file == HERE


def test_a_library_that_calls_the_user_back_does_not_hide_the_user_s_line(tmp_path: Path) -> None:
    twice = library("def twice(f, x):\n    return f(f(x))\n")["twice"]
    weight = nn.Parameter(torch.randn(4))

    def train() -> None:
        mine = lambda x: torch.tanh(x) * 2  # noqa: E731  # at: lambda
        twice(mine, weight).sum().backward()

    (site,) = sites(watched(tmp_path / "run", train), "Tanh")
    assert (site.file, site.line, site.function) == (HERE, line_of("lambda"), "<lambda>")
    assert (site.user_file, site.user_line) == (HERE, line_of("lambda"))


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


class Decorated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    @decorated
    @torch.autocast("cpu", enabled=False)
    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.layer(x))  # at: decorated


def test_a_decorated_forward_stands_on_its_own_line(tmp_path: Path) -> None:
    model = Decorated()
    run = watched(tmp_path / "run", lambda: model(torch.randn(3, 4)).sum().backward(), model)
    (site,) = sites(run, "Gelu")
    assert (site.line, site.function) == (line_of("decorated"), "forward")
    (layer,) = sites(run, "Addmm")
    assert (layer.module, layer.line) == ("layer", line_of("decorated"))


def test_a_generator_and_a_critic_are_named_apart(tmp_path: Path) -> None:
    class Maker(nn.Linear):
        pass

    class Critic(nn.Linear):
        pass

    maker, critic = Maker(2, 3), Critic(3, 1)
    first = torch.optim.SGD(critic.parameters(), lr=0.1)
    second = torch.optim.SGD(maker.parameters(), lr=0.1)

    def train() -> None:
        z = torch.randn(5, 2)
        first.zero_grad()
        (critic(torch.randn(5, 3)).mean() - critic(maker(z).detach()).mean()).backward()
        first.step()
        second.zero_grad()
        critic(maker(z)).mean().backward()
        second.step()

    run = watched(tmp_path / "run", train)
    assert {info.name for info in run.parameters} == {
        "Maker.weight",
        "Maker.bias",
        "Critic.weight",
        "Critic.bias",
    }
    assert {site.module for site in sites(run, "Addmm")} == {"Maker", "Critic"}
    assert set(run.ledger(1).names) == {info.name for info in run.parameters}
    assert set(run.ledger(0).names) == {"Critic.weight", "Critic.bias"}
    held = {info.name: info.optimiser for info in run.parameters}
    assert held["Critic.weight"] == 0
    assert held["Maker.weight"] == 1


def test_parts_met_before_their_whole_are_named_by_their_place_in_it(tmp_path: Path) -> None:
    whole = Outer()

    def train() -> None:
        whole.blocks[1](torch.randn(3, 4)).sum().backward()
        whole(torch.randn(3, 4)).sum().backward()

    run = watched(tmp_path / "run", train)
    assert {info.name for info in run.parameters} == {"blocks.0.weight", "blocks.1.weight"}
    assert {site.module for site in sites(run, "Sigmoid")} == {"blocks.0", "blocks.1"}
    assert [m["path"] for m in run.info.modules].count("blocks.1") == 1


def test_a_part_called_by_the_script_itself_keeps_its_place_in_the_whole(tmp_path: Path) -> None:
    model = nn.ModuleDict({"encoder": nn.Linear(4, 3), "decoder": nn.Linear(3, 4)})
    x = torch.randn(5, 4)

    def train() -> None:
        model["decoder"](model["encoder"](x).tanh()).sum().backward()

    run = watched(tmp_path / "run", train, model)
    assert {site.module for site in sites(run, "Addmm")} == {"encoder", "decoder"}
    assert "decoder.weight" in run.ledger().names


def test_raw_tensors_in_a_function_are_parameters_once_an_optimiser_holds_them(
    tmp_path: Path,
) -> None:
    w = torch.randn(4, 4, requires_grad=True)
    b = torch.zeros(4, requires_grad=True)
    optimiser = torch.optim.SGD([w, b], lr=0.1)

    def train() -> None:
        for _ in range(2):
            optimiser.zero_grad()
            (torch.randn(3, 4) @ w + b).square().mean().backward()
            optimiser.step()

    run = watched(tmp_path / "run", train)
    assert len(run.ledger(1).names) == 2
    assert run.parameter_rows.filter(run.parameter_rows["step"].to_numpy() == 1).num_rows == 2
    assert [info.shape for info in run.parameters] == [(4, 4), (4,)]


def test_raw_tensors_stepped_by_hand_are_parameters_from_the_second_step(tmp_path: Path) -> None:
    w = torch.randn(4, 4, requires_grad=True)

    def train() -> None:
        for _ in range(3):
            noise = torch.randn(3, 4, requires_grad=True)  # fresh each time: an input
            (noise @ w).tanh().sum().backward()
            with torch.no_grad():
                w.sub_(0.1 * w.grad)
            w.grad = None

    run = watched(tmp_path / "run", train)
    assert [info.shape for info in run.parameters] == [(4, 4)]
    assert run.backward_passes(0) == (0, 1)  # no step is noticed before there is a parameter
    assert run.ledger(0, 0).names == ()
    assert len(run.ledger(0, 1).names) == len(run.ledger(1).names) == 1


MODULE_LEVEL = """
import torch
torch.manual_seed(0)
w1 = torch.randn(4, 4, requires_grad=True)
w2 = torch.randn(4, 1, requires_grad=True)
for _ in range(3):
    loss = (torch.tanh(torch.randn(3, 4) @ w1) @ w2).square().mean()
    loss.backward()
    for w in (w1, w2):
        w.data -= 0.1 * w.grad
        w.grad.zero_()
"""


def test_raw_tensors_of_a_script_have_the_names_it_gives_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = type(sys)("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    script = tmp_path / "script.py"
    script.write_text(MODULE_LEVEL)
    code = compile(MODULE_LEVEL, str(script), "exec")
    run = watched(tmp_path / "run", lambda: exec(code, vars(main)))
    assert set(run.ledger(0).names) == {"w1", "w2"}
    (site,) = sites(run, "Tanh")
    assert (site.user_file, site.user_line, site.function) == (str(script), 7, "<module>")
    assert run.pulse["backwards"].to_pylist() == [1, 1, 1]
    assert run.info.sources[str(script)] == MODULE_LEVEL
