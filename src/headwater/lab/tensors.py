"""The catalogue's activations as PyTorch computes them, for the batched backend."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from headwater.lab.network import Network
from headwater.theory.catalogue import parse_activation
from headwater.theory.gated import QUICK_RATE
from headwater.theory.saturating import LECUN_HEIGHT, LECUN_RATE

Function = Callable[..., Tensor]

FUNCTIONS: Mapping[str, Function] = {
    "identity": lambda x: x,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "lecun_tanh": lambda x: LECUN_HEIGHT * torch.tanh(LECUN_RATE * x),
    "erf": lambda x, rate=1.0: torch.erf(rate * x),
    "erf_unit": lambda x: torch.erf(math.sqrt(math.pi) / 2 * x),
    "softsign": functional.softsign,
    "hardtanh": functional.hardtanh,
    "hardsigmoid": functional.hardsigmoid,
    "relu": torch.relu,
    "leaky_relu": lambda x, slope=0.01: functional.leaky_relu(x, slope),
    "relu6": functional.relu6,
    "relu2": lambda x: torch.relu(x) ** 2,
    "elu": lambda x, alpha=1.0: functional.elu(x, alpha),
    "selu": functional.selu,
    "celu": lambda x, alpha=1.0: functional.celu(x, alpha),
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(QUICK_RATE * x),
    "silu": lambda x, rate=1.0: x * torch.sigmoid(rate * x),
    "mish": functional.mish,
    "hardswish": functional.hardswish,
    "softplus": functional.softplus,
    "logsigmoid": functional.logsigmoid,
    "tanhshrink": functional.tanhshrink,
    "sin": torch.sin,
}


def rectified(x: Tensor, slopes: Tensor) -> Tensor:
    """Return x above 0 and slopes times x at and below it: PReLU and RReLU."""
    return torch.where(x > 0, x, slopes * x)


def fixed_function(network: Network) -> Callable[[Tensor], Tensor]:
    """Return the activation of a network whose slopes, if it has any, are not at issue.

    For RReLU that is evaluation's mean slope.
    """
    word, parts = parse_activation(network.activation)
    if word in {"prelu", "rrelu"}:
        slope = float(network.phi.derivative(_LEFT)[0])
        return lambda x: functional.leaky_relu(x, slope)
    values = [float(part.partition("=")[2] or part) for part in parts]
    return lambda x: FUNCTIONS[word](x, *values)


_LEFT = torch.tensor([-1.0], dtype=torch.float64).numpy()
