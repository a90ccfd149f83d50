"""Networks drawn and measured with torch: the facts and the simulations among published numbers."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from expected_rows import Row
from quantities import Answers
from torch import Tensor, nn
from torch.nn import functional

from headwater.theory.deadness import born_dead_rate
from headwater.theory.initialisation import gain, unit_output_gain
from headwater.theory.recurrent import default_radius, recurrent_gradient

DEPTH, WIDTH, SAMPLES, CLASSES = 50, 256, 128, 10
DRAWS = 8
TORCH_NAMES = {"identity": lambda x: x, "tanh": torch.tanh, "sigmoid": torch.sigmoid}


def torch_function(name: str):  # type: ignore[no-untyped-def]
    return TORCH_NAMES.get(name) or getattr(functional, name)


class Measured(NamedTuple):
    """Gradient norms of a network, first layer first."""

    weights: list[float]
    signals: list[float]


@lru_cache(maxsize=64)
def measured(
    name: str,
    weight_variance: float,
    seed: int = 0,
    *,
    depth: int = DEPTH,
    width: int = WIDTH,
    samples: int = SAMPLES,
) -> Measured:
    """Gradients of a plain network in float64: h_1 = W x, h = W phi(h), no bias, cross-entropy."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    scale = math.sqrt(weight_variance / width)
    weights = [(normal(width, width) * scale).requires_grad_() for _ in range(depth)]
    head = normal(CLASSES, width) / math.sqrt(width)
    targets = torch.randint(CLASSES, (samples,), generator=generator)
    phi, x, signals = torch_function(name), normal(samples, width), []
    for weight in weights:
        h = x @ weight.T
        h.retain_grad()
        signals.append(h)
        x = phi(h)
    functional.cross_entropy(x @ head.T, targets).backward()
    return Measured(
        [float(weight.grad.norm()) for weight in weights],  # type: ignore[union-attr]
        [float(h.grad.norm()) for h in signals],  # type: ignore[union-attr]
    )


def signal_ratio(name: str, weight_variance: float) -> float:
    """|dL/dh_1| / |dL/dh_50|, geometric mean of eight draws."""
    logs = []
    for seed in range(DRAWS):
        norms = measured(name, weight_variance, seed).signals
        logs.append(math.log(norms[0] / norms[-1]))
    return math.exp(float(np.mean(logs)))


def weight_ratio(name: str, weight_variance: float) -> float:
    logs = []
    for seed in range(DRAWS):
        norms = measured(name, weight_variance, seed).weights
        logs.append(math.log(norms[0] / norms[-1]))
    return math.exp(float(np.mean(logs)))


def first_weight(name: str, weight_variance: float) -> float:
    norms = [measured(name, weight_variance, seed).weights[0] for seed in range(DRAWS)]
    return math.exp(float(np.mean(np.log(norms))))


def unit_output_factor(row: Row) -> float:
    """Gradient factor per layer at outputs of mean square 1: measured where it is steady.

    From the second layer on the variance is at its fixed point.
    """
    weight_variance = unit_output_gain(row.act) ** 2
    logs = []
    for seed in range(DRAWS):
        norms = measured(row.act, weight_variance, seed).signals
        logs.append(np.log(norms[1] / norms[-1]) / (len(norms) - 2))
    return math.exp(float(np.mean(logs)))


def singular_spread(row: Row) -> float:
    """Var/mean^2 of the squared singular values of a Jacobian 500 wide; mean of four draws."""
    n, depth, name = 500, int(row.number("L")), row.act
    spreads = []
    for seed in range(4):
        generator = np.random.default_rng(seed)
        h, jacobian = generator.normal(size=n), np.eye(n)
        for _ in range(depth):
            weight = generator.normal(size=(n, n))
            if row.given["weights"] == "orth":
                q, r = np.linalg.qr(weight)
                weight = q * np.sign(np.diag(r))
            else:
                weight = weight / math.sqrt(n)
            slope = (h > 0) * 1.0 if name == "relu" else np.ones(n)
            x = h * slope
            step = gain(name) * weight
            h, jacobian = step @ x, step @ (slope[:, None] * jacobian)
        squares = np.linalg.svd(jacobian, compute_uv=False) ** 2
        spreads.append(float(squares.var() / squares.mean() ** 2))
    return float(np.mean(spreads))


def born_dead(row: Row) -> float:
    """Ten times the row's networks, so that nearly all of its tolerance is the row's own error."""
    networks = 10 * int(row.number("M"))
    depth = int(row.number("depth L"))
    return born_dead_rate(int(row.number("width")), depth, networks=networks, seed=1)


def passed_back(jacobian: Tensor) -> float:
    """Logarithm of the norm that a random unit vector has after it went back through."""
    direction = torch.randn(len(jacobian), dtype=torch.float64)
    return math.log(float((direction / direction.norm() @ jacobian).norm()))


def rnn_jacobian(_row: Row) -> float:
    """Spectral norm of dh_50/dh_0 of nn.RNNCell(32, 256); geometric mean of draws."""
    logs = []
    for seed in range(DRAWS):
        torch.manual_seed(seed)
        cell = nn.RNNCell(32, 256).double()
        h, jacobian = torch.zeros(1, 256, dtype=torch.float64), torch.eye(256, dtype=torch.float64)
        with torch.no_grad():
            for _ in range(50):
                h = cell(torch.randn(1, 32, dtype=torch.float64), h)
                jacobian = (1 - h[0] ** 2)[:, None] * cell.weight_hh @ jacobian
        logs.append(math.log(float(torch.linalg.matrix_norm(jacobian, 2))))
    return math.exp(float(np.mean(logs)))


def lstm_jacobian(row: Row) -> float:
    """|dc_100/dc_0| of nn.LSTMCell(32, 128), gates included; geometric mean of draws."""
    bias = re.search(r"bias=(-?[\d.]+|None)", row.parameters)
    mode = re.search(r"mode=(\w+)", row.parameters)
    assert bias is not None
    assert mode is not None
    logs = []
    for seed in range(DRAWS):
        torch.manual_seed(seed)
        cell = nn.LSTMCell(32, 128).double()
        if mode[1] != "default":
            with torch.no_grad():
                cell.bias_ih[128:256] = float(bias[1])
                cell.bias_hh[128:256] = float(bias[1]) if mode[1] == "both" else 0.0
        logs.append(passed_back(cell_jacobian(cell, 100)))
    return math.exp(float(np.mean(logs)))


def cell_jacobian(cell: nn.LSTMCell, steps: int) -> Tensor:
    size = cell.hidden_size
    state = torch.zeros(2, 1, size, dtype=torch.float64)
    jacobian = torch.cat([torch.zeros(size, size), torch.eye(size)]).double()
    for _ in range(steps):
        x = torch.randn(1, cell.input_size, dtype=torch.float64)

        def step(flat: Tensor, x: Tensor = x) -> Tensor:
            h, c = flat.view(2, 1, size)
            return torch.stack(cell(x, (h, c))).flatten()

        local = torch.autograd.functional.jacobian(step, state.flatten(), vectorize=True)
        jacobian = local @ jacobian
        state = step(state.flatten()).detach().view(2, 1, size)
    return jacobian[size:]


def calculated_gain(row: Row) -> float:
    found = re.search(r"calculate_gain\((\w+)\)", row.quantity)
    assert found is not None
    return float(nn.init.calculate_gain(found[1]))  # type: ignore[arg-type]


def vector_norm(row: Row) -> float:
    found = re.search(r"of (\d+) elements equal (\S+) in (\w+)", row.quantity)
    assert found is not None
    entries = torch.full((int(found[1]),), float(found[2]), dtype=getattr(torch, found[3]))
    assert torch.isfinite(entries).all()
    assert (entries != 0).all()
    return float(torch.linalg.vector_norm(entries))


FACTS: tuple[tuple[str, Answers], ...] = (
    (r"torch calculate_gain", calculated_gain),
    (r"torch.linalg.vector_norm", vector_norm),
)

SIMULATIONS: tuple[tuple[str, Answers], ...] = (
    (r"Monte Carlo P\(born dead", born_dead),
    (r"upper estimate of gradient norm", lambda r: recurrent_gradient(default_radius(), 50)),
    (r"measured \|dh_50/dh_0\| for nn.RNNCell", rnn_jacobian),
    (r"measured \|dc_100/dc_0\|", lstm_jacobian),
    (r"Var/mean\^2 of squared singular values", singular_spread),
    (r"gradient norm factor per layer of a 50x256 MLP", unit_output_factor),
    (r"\|dL/dW_1\| same net", lambda r: first_weight("relu", 1.0)),
    (r"\|dL/dh_1\|/\|dL/dh_50\| same net", lambda r: signal_ratio("relu", 1.0)),
    (r"\|dL/dh_1\|/\|dL/dh_50\| sigmoid Glorot", lambda r: signal_ratio("sigmoid", 1.0)),
    (r"\|dL/dh_1\|/\|dL/dh_50\| tanh sigma_w=5/3", lambda r: signal_ratio("tanh", 25 / 9)),
    (r"\|dL/dh_1\|/\|dL/dh_50\| tanh sigma_w=1 ", lambda r: signal_ratio("tanh", 1.0)),
    (r"\|dL/dW_1\|/\|dL/dW_50\|, ReLU no bias", lambda r: weight_ratio("relu", 1.0)),
    (r"\|dL/dW_1\|/\|dL/dW_50\| GELU He", lambda r: weight_ratio("gelu", 2.0)),
)
