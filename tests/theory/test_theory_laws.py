"""Recurrence, residual sums, dead networks, linear networks: laws of the closed forms."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headwater.theory.deadness import born_dead_bounds, born_dead_rate, dead_for_one_input
from headwater.theory.initialisation import torch_default, truncated_normal_variance
from headwater.theory.linear import depth_for, jacobian_spread, signal_after
from headwater.theory.recurrent import (
    chrono_bias,
    chrono_biases,
    default_radius,
    forget_memory,
    forget_path,
    gru_radius,
    lstm_radius,
    update_path,
    vanishing_radius,
)
from headwater.theory.residual import residual_factor


@given(bias=st.floats(-700, 700), steps=st.integers(0, 10_000))
def test_a_forget_path_never_grows_nor_is_nan(bias: float, steps: int) -> None:
    assert 0 <= forget_path(bias, steps) <= 1
    assert forget_path(bias, steps) <= forget_path(bias + 1, steps)


@given(horizon=st.floats(1.01, 1e6))
def test_a_chrono_bias_forgets_at_its_horizon(horizon: float) -> None:
    bias = chrono_bias(horizon)
    assert forget_path(bias, 1) == pytest.approx(1 - 1 / horizon, rel=1e-9)
    assert forget_memory(bias) <= horizon


def test_chrono_biases_spread_over_all_memories() -> None:
    biases = chrono_biases(1000, 5000, seed=3)
    memories = 1 + np.exp(biases)
    assert memories.min() >= 2
    assert memories.max() <= 1000
    assert memories.mean() == pytest.approx(501, rel=0.05)


def test_both_of_torchs_biases_count() -> None:
    cell = torch.nn.LSTMCell(1, 1).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        cell.bias_ih[1] = cell.bias_hh[1] = 1.0
    c = torch.ones(1, 1, dtype=torch.float64, requires_grad=True)
    x = torch.zeros(1, 1, dtype=torch.float64)
    _, after = cell(x, (x, c))
    after.sum().backward()
    assert float(c.grad) == pytest.approx(forget_path(2.0, 1), rel=1e-12)


def test_an_update_gate_keeps_in_torchs_form() -> None:
    cell = torch.nn.GRUCell(1, 1).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        cell.bias_ih[1] = 1.5
    h = torch.ones(1, 1, dtype=torch.float64, requires_grad=True)
    cell(torch.zeros(1, 1, dtype=torch.float64), h).sum().backward()
    assert float(h.grad) == pytest.approx(update_path(1.5, 1), rel=1e-12)


def spectral_radius(cell: torch.nn.Module, state: int) -> float:
    x = torch.zeros(1, 1)

    def step(flat: torch.Tensor) -> torch.Tensor:
        parts = flat.view(state, 1, -1)
        out = cell(x, tuple(parts)) if state == 2 else cell(x, parts[0])
        return torch.stack(out).flatten() if state == 2 else out.flatten()

    size = cell.hidden_size * state  # type: ignore[operator]
    jacobian = torch.autograd.functional.jacobian(step, torch.zeros(size))
    return float(torch.linalg.eigvals(jacobian).abs().max())


def without_bias(cell: torch.nn.Module) -> torch.nn.Module:
    with torch.no_grad():
        cell.bias_ih.zero_()  # type: ignore[operator]
        cell.bias_hh.zero_()  # type: ignore[operator]
    return cell


def test_one_step_radii_are_those_of_torchs_cells() -> None:
    torch.manual_seed(0)
    gru = without_bias(torch.nn.GRUCell(1, 256))
    assert spectral_radius(gru, 1) == pytest.approx(gru_radius(), abs=0.02)
    lstm = without_bias(torch.nn.LSTMCell(1, 256))
    with torch.no_grad():
        lstm.bias_ih[256:512] = 1.0  # type: ignore[index]
    assert spectral_radius(lstm, 2) == pytest.approx(lstm_radius(1.0), abs=0.02)
    rnn = torch.nn.RNNCell(1, 256)
    radius = float(torch.linalg.eigvals(rnn.weight_hh.detach()).abs().max())
    assert radius == pytest.approx(default_radius(), abs=0.05)


def test_vanishing_needs_no_more_than_a_small_matrix() -> None:
    assert vanishing_radius("tanh") == 1.0
    assert vanishing_radius("relu2") == 0.0


@given(factor=st.floats(1e-300, 1e300), depth=st.integers(0, 100_000))
def test_a_power_is_never_nan(factor: float, depth: int) -> None:
    assert signal_after(factor, depth) >= 0
    assert depth_for(factor, 10.0) >= 0


@given(chi=st.floats(0, 10), scale=st.floats(0, 2))
def test_a_residual_block_adds(chi: float, scale: float) -> None:
    assert residual_factor(chi, branch_scale=scale) == pytest.approx(1 + scale**2 * chi)


@given(width=st.integers(1, 60), layers=st.integers(1, 100))
def test_dead_networks_get_rarer_with_width_and_commoner_with_depth(
    width: int, layers: int
) -> None:
    dead = dead_for_one_input([width] * layers)
    assert 0 <= dead <= 1
    assert dead_for_one_input([width + 1] * layers) <= dead
    assert dead_for_one_input([width] * (layers + 1)) >= dead


@pytest.mark.parametrize(("width", "depth"), [(2, 5), (3, 10), (5, 20)])
def test_drawn_networks_are_dead_as_often_as_the_bounds_say(width: int, depth: int) -> None:
    low, high = born_dead_bounds(width, depth)
    rate = born_dead_rate(width, depth, networks=6000, seed=0)
    error = 3 * math.sqrt(rate * (1 - rate) / 6000)
    assert low - error <= rate <= high + error


def test_more_inputs_leave_fewer_networks_dead() -> None:
    rates = [born_dead_rate(3, 8, networks=2000, seed=0, inputs=n) for n in (1, 3)]
    assert rates[1] < rates[0]


def test_orthogonal_weights_are_isometric_for_a_line_and_not_for_relu() -> None:
    assert jacobian_spread("identity", 100, "orthogonal") == 0
    assert jacobian_spread("relu", 10, "orthogonal") == 10
    assert jacobian_spread("tanh", 10, "orthogonal") == pytest.approx(0, abs=1e-9)


def test_torchs_own_draws_have_the_variances_said() -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(512, 2048)
    said = torch_default(512)
    assert float(linear.weight.detach().var()) * 512 == pytest.approx(
        said.weight_variance, rel=0.01
    )
    assert float(linear.bias.detach().var()) == pytest.approx(said.bias_variance, rel=0.1)
    cut = torch.nn.init.trunc_normal_(torch.empty(1000, 1000))
    assert float(cut.var()) == pytest.approx(truncated_normal_variance(2.0), rel=0.01)


def test_importing_the_theory_loads_no_torch() -> None:
    code = (
        "import sys, headwater as hw, headwater.theory;"
        "assert round(hw.gain('relu'), 6) == 1.414214;"
        "print(sorted({'torch', 'pyarrow', 'rich', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
