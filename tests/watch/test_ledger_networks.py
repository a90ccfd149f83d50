"""The ledger's sums against gradients measured here, in float64, for many kinds of networks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from networks import NETWORKS, Network, deep_linear, random_graph
from torch import Tensor, nn
from ways_back import WAYS_BACK

import headwater
from headwater.runs.ledger import Ledger

ALL = NETWORKS | WAYS_BACK


def measured_decades(gradient: Tensor, root: float) -> float:
    """Return log10 of a gradient's norm over the root's, computed apart from the record."""
    dense = gradient.to_dense() if gradient.is_sparse else gradient
    wide = torch.view_as_real(dense) if dense.is_complex() else dense
    size = float(wide.double().square().sum().sqrt())
    return math.log10(size) - math.log10(root) if size > 0 else -math.inf


def observed(network: Network, folder: Path, steps: int = 2) -> tuple[list[Ledger], list[dict]]:
    """Train under observation; return each step's ledger and its gradients' decades."""
    decades: list[dict[str, float]] = []
    parameters = dict(network.parameters)
    optimiser = torch.optim.SGD([p for p in parameters.values() if p.requires_grad], lr=1e-3)
    with headwater.watch(network.module, optimiser, every=1, out=folder) as run:
        for _ in range(steps):
            optimiser.zero_grad()
            root = network.backward()
            decades.append(
                {
                    name: measured_decades(tensor.grad, root)
                    for name, tensor in parameters.items()
                    if tensor.grad is not None
                }
            )
            optimiser.step()
    return [last_backward(run, step) for step in range(steps)], decades


def last_backward(run: headwater.watch, step: int) -> Ledger:
    return run.ledger(step, run.record.backward_passes(step)[-1])


def assert_accounts(ledger: Ledger, decades: Mapping[str, float]) -> None:
    assert set(ledger.names) == set(decades)
    for name, expected in decades.items():
        total = sum(entry.decades for entry in ledger.entries(name))
        assert total == pytest.approx(expected, abs=1e-5), name
        assert ledger.measured(name) == pytest.approx(expected, abs=1e-5), name


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype")
@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
@pytest.mark.parametrize("name", ALL)
def test_the_entries_of_every_parameter_sum_to_its_gradient(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = ALL[name]()
    ledgers, decades = observed(network, tmp_path / "run")
    for ledger, expected in zip(ledgers, decades, strict=True):
        if network.module is None:  # names are made up
            assert len(ledger.names) == len(expected)
            sums = sorted(ledger.decades(name) for name in ledger.names)
            assert sums == pytest.approx(sorted(expected.values()), abs=1e-5)
        else:
            assert_accounts(ledger, expected)


@pytest.mark.parametrize("seed", range(15))
def test_the_accounts_of_random_graphs_are_exact(seed: int, tmp_path: Path) -> None:
    torch.manual_seed(seed)
    ledgers, decades = observed(random_graph(seed), tmp_path / "run")
    for ledger, expected in zip(ledgers, decades, strict=True):
        assert_accounts(ledger, expected)


@pytest.mark.parametrize(
    "name", ["mlp", "tied weights", "sparse embedding", "checkpoint of a shared layer, reentrant"]
)
def test_a_pass_that_adds_to_older_gradients_is_accounted_alone(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = ALL[name]()
    with headwater.watch(network.module, every=1, out=tmp_path / "run") as run:
        network.backward()
        older = {n: p.grad.clone() for n, p in network.parameters.items()}
        root = network.backward()
    expected = {n: measured_decades(p.grad - older[n], root) for n, p in network.parameters.items()}
    assert_accounts(run.ledger(0, 1), expected)


def test_two_passes_through_one_graph_are_two_accounts(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)), torch.randn(6, 4)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    expected = []
    with headwater.watch(model, optimiser, every=1, out=tmp_path / "run") as run:
        outputs = model(x)
        for column in (0, 1):
            optimiser.zero_grad()
            outputs[:, column].sum().backward(retain_graph=True)
            expected.append({n: measured_decades(p.grad, 1) for n, p in model.named_parameters()})
        optimiser.step()
    assert run.record.backward_passes(0) == (0, 1)
    for backward in (0, 1):
        assert_accounts(run.ledger(0, backward), expected[backward])


def test_the_inner_pass_of_a_gradient_penalty_has_an_account_of_its_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = ALL["gradient penalty"]()
    _, _ = observed(network, tmp_path / "run", steps=1)
    inner = headwater.Run.open(tmp_path / "run").ledger(0, 0)
    assert inner.names == ()  # it asks for the gradient of its input alone
    kinds = [summary.site.kind for summary in inner.by_site().values()]
    assert "weights" in kinds
    assert "activation" in kinds


@pytest.mark.parametrize(("scale", "decades"), [(1.5, 0.1760912590557), (0.5, -0.3010299956640)])
@pytest.mark.parametrize("depth", [5, 60])
def test_each_layer_of_a_scaled_identity_has_the_decades_of_its_scale(
    scale: float, decades: float, depth: int, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    (ledger,), (expected,) = observed(deep_linear(scale, depth), tmp_path / "run", steps=1)
    assert_accounts(ledger, expected)
    for layer in range(depth):
        weights = [e for e in ledger.entries(f"{layer}.weight") if e.kind == "weights"]
        through, last = weights[:-1], weights[-1]
        assert len(through) == depth - 1 - layer
        assert [e.decades for e in through] == pytest.approx([decades] * len(through), abs=1e-7)
        assert last.site.module == str(layer)
    gains = [s.gains for s in ledger.by_site().values() if s.site.kind == "weights"]
    inner = [gain for (gain,) in gains if gain is not None]
    assert inner == pytest.approx([decades] * (depth - 1), abs=1e-7)


def test_a_gradient_of_exactly_zero_is_lost_once_and_where_it_died(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)), torch.randn(5, 3)
    model[0].bias.data.fill_(-100.0)
    with headwater.watch(model, every=1, out=tmp_path / "run") as run:
        model(x).sum().backward()
    ledger = run.ledger(0)
    entries = ledger.entries("0.weight")
    assert [e.kind for e in entries if e.decades == -math.inf] == ["activation"]
    assert all(math.isfinite(e.decades) for e in entries if e.kind != "activation")
    assert ledger.decades("0.weight") == ledger.measured("0.weight") == -math.inf
    assert math.isfinite(ledger.decades("2.bias"))


def test_a_gradient_that_is_not_finite_has_no_decades(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)), torch.randn(5, 3)
    with headwater.watch(model, every=1, out=tmp_path / "run") as run:
        hidden = model[1](model[0](x))
        (model[2](torch.sqrt(hidden * 0)).sum() + model[2](hidden).sum()).backward()
    ledger = run.ledger(0)
    assert model[0].weight.grad is not None
    assert not model[0].weight.grad.isfinite().all()
    assert math.isnan(ledger.decades("0.weight"))
    assert math.isnan(ledger.measured("0.weight"))
    assert math.isfinite(ledger.decades("2.bias"))
    culprits = [s.site.operation for s in ledger.by_site().values() if math.isnan(s.highest)]
    assert "Sum" not in culprits
    walk = [e.site.operation for e in ledger.entries("0.weight") if math.isnan(e.decades)]
    assert walk[0] == "Sqrt"  # the account leads by the operation that broke it


def test_every_parameter_with_a_gradient_has_an_account_and_no_other(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = nn.ModuleDict({"used": nn.Linear(3, 1), "unused": nn.Linear(2, 2)}), torch.ones(2, 3)
    with headwater.watch(model, every=1, out=tmp_path / "run") as run:
        model["used"](x).sum().backward()
    assert set(run.ledger(0).names) == {"used.weight", "used.bias"}
    got = {info.name: info.got_gradient for info in run.record.parameters}
    assert got == {
        "used.weight": True,
        "used.bias": True,
        "unused.weight": False,
        "unused.bias": False,
    }


def test_a_run_that_ends_before_any_step_keeps_its_only_pass(tmp_path: Path) -> None:
    model = nn.Linear(3, 1)
    with headwater.watch(model, every=1, out=tmp_path / "run") as run:
        model(torch.ones(2, 3)).sum().backward()
    assert run.record.pulse["backwards"].to_pylist() == [1]
    assert run.record.parameter_rows.num_rows == 2
