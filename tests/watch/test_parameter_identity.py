"""Which parameters there are, who holds them, and whether a gradient reaches them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from parameter_rows import near, network, rows, size
from torch import nn

import headwater


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


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
