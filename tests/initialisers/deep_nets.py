"""Deep plain networks, and what their gradient does between the first and the last layer."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "softplus": nn.Softplus,
    "hardswish": nn.Hardswish,
}


def plain(name: str, depth: int = 50, width: int = 256, features: int = 32) -> nn.Sequential:
    """Return a network at torch's default initialisation."""
    layers: list[nn.Module] = []
    for fan_in in (features, *(width,) * (depth - 1)):
        layers += [nn.Linear(fan_in, width), ACTIVATIONS[name]()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def log10_ratio(net: nn.Module, x: Tensor) -> float:
    """Return log10 of |dL/dh_1| / |dL/dh_L| of the outputs of all weights but the last's."""
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        output.retain_grad()
        outputs.append(output)

    kinds = (nn.Linear, nn.Conv2d)
    handles = [m.register_forward_hook(keep) for m in net.modules() if isinstance(m, kinds)]
    try:
        out = net(x)
        (out * torch.randn_like(out)).sum().backward()
    finally:
        for handle in handles:
            handle.remove()
    norms = [float(output.grad.double().norm()) for output in outputs]
    return math.log10(norms[0] / norms[-2])
