"""A plain PyTorch loop, one network at a time: what every member of an ensemble has to be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from headwater.lab.network import Floats, Network
from headwater.lab.randomness import entry_counters, noise, noise_keys, orders
from headwater.lab.training import Plan

ACTIVATIONS = {
    "identity": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softsign": nn.Softsign,
    "hardtanh": nn.Hardtanh,
    "hardsigmoid": nn.Hardsigmoid,
    "relu": nn.ReLU,
    "leaky_relu(0.1)": lambda: nn.LeakyReLU(0.1),
    "relu6": nn.ReLU6,
    "elu": nn.ELU,
    "elu(0.5)": lambda: nn.ELU(0.5),
    "selu": nn.SELU,
    "celu(0.5)": lambda: nn.CELU(0.5),
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "hardswish": nn.Hardswish,
    "softplus": nn.Softplus,
    "logsigmoid": nn.LogSigmoid,
    "tanhshrink": nn.Tanhshrink,
    "prelu": nn.PReLU,
    "rrelu": None,  # its slopes are given
}
"""Those of the catalogue that torch has as modules."""


class Net(nn.Module):
    """A network's layers as anybody would write them."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        pairs = list(zip(network.widths[:-1], network.widths[1:], strict=True))
        self.linear = nn.ModuleList(nn.Linear(*pair) for pair in pairs)
        hidden = network.widths[1:-1]
        self.norm = nn.ModuleList(nn.BatchNorm1d(n) for n in hidden if network.batch_norm)
        make = ACTIVATIONS[network.activation]
        self.phi = nn.ModuleList(make() for _ in hidden if make is not None)
        self.to(getattr(torch, network.dtype))

    def parts(self) -> list[Tensor]:
        """Return the tensors in the order of the network's slots."""
        found = []
        for slot in self.network.slots:
            holder = {"weight": self.linear, "bias": self.linear, "slope": self.phi}.get(
                slot.kind, self.norm
            )[slot.layer]
            name = {"scale": "weight", "shift": "bias", "slope": "weight"}.get(slot.kind, slot.kind)
            found.append(getattr(holder, name))
        return found

    def set(self, parameters: Floats) -> None:
        """Take a vector of parameters."""
        with torch.no_grad():
            for part, slot in zip(self.parts(), self.network.slots, strict=True):
                own = torch.from_numpy(parameters[slot.start : slot.stop].copy())
                part.copy_(own.view(slot.shape))

    def forward(self, x: Tensor, slopes: list[Tensor] | None = None) -> Tensor:
        for layer, linear in enumerate(self.linear[:-1]):
            x = linear(x)
            if self.network.batch_norm:
                x = self.norm[layer](x)
            x = self._bent(x, layer, slopes)
        return self.linear[-1](x)

    def _bent(self, x: Tensor, layer: int, slopes: list[Tensor] | None) -> Tensor:
        if self.network.activation != "rrelu":
            return self.phi[layer](x)
        if slopes is None:
            return functional.rrelu(x, training=False)
        return torch.where(x > 0, x, slopes[layer] * x)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a plain training left."""

    parameters: Floats
    losses: list[float]
    norms: list[float]
    train_loss: float
    test_loss: float
    test_accuracy: float


def plain_training(plan: Plan, member: int) -> Trained:
    """Train one member of a plan by itself."""
    torch.set_num_threads(1)
    kind = getattr(torch, plan.network.dtype)
    net = Net(plan.network)
    net.set(plan.members.first_parameters(plan.network)[member])
    x, y = (torch.tensor(values, dtype=kind) for values in (plan.data.x, plan.data.y))
    test_x, test_y = (torch.tensor(v, dtype=kind) for v in (plan.data.test_x, plan.data.test_y))
    optimizer = optimizer_of(plan, member, net)
    criterion = nn.BCEWithLogitsLoss() if plan.network.loss == "bce" else nn.MSELoss()
    losses, norms = [], []
    seeds = np.array([plan.members.seeds[member]])
    for epoch in range(plan.training.epochs):
        order = orders(seeds, epoch, plan.points)[0] if shuffles(plan) else np.arange(plan.points)
        for start in range(0, plan.points, plan.batch):
            at = torch.from_numpy(order[start : start + plan.batch])
            optimizer.zero_grad()
            loss = criterion(net(x[at], drawn_slopes(plan, seeds, len(losses), len(at))), y[at])
            loss.backward()
            losses.append(loss.item())
            norms.append(float(sum(p.grad.double().pow(2).sum() for p in net.parameters()) ** 0.5))
            clip(plan, net)
            optimizer.step()
    net.eval()
    with torch.no_grad():
        told = ((net(test_x) > 0) == (test_y > 0.5)).double().mean()
        return Trained(
            parameters=torch.cat([part.flatten() for part in net.parts()]).numpy(),
            losses=losses,
            norms=norms,
            train_loss=float(criterion(net(x), y)),
            test_loss=float(criterion(net(test_x), test_y)),
            test_accuracy=float(told),
        )


def shuffles(plan: Plan) -> bool:
    return plan.training.shuffle and plan.batch < plan.points


def optimizer_of(plan: Plan, member: int, net: nn.Module) -> torch.optim.Optimizer:
    o = plan.training.optimiser
    rate = float(plan.members.learning_rates(o)[member])
    if o.kind == "sgd":
        return torch.optim.SGD(
            net.parameters(),
            lr=rate,
            momentum=o.momentum,
            nesterov=o.nesterov,
            weight_decay=o.weight_decay,
        )
    if o.kind == "rmsprop":
        return torch.optim.RMSprop(
            net.parameters(),
            lr=rate,
            alpha=o.alpha,
            eps=o.eps,
            momentum=o.momentum,
            weight_decay=o.weight_decay,
        )
    make = torch.optim.Adam if o.kind == "adam" else torch.optim.AdamW
    return make(net.parameters(), lr=rate, betas=o.betas, eps=o.eps, weight_decay=o.weight_decay)


def clip(plan: Plan, net: nn.Module) -> None:
    clipping = plan.training.clip
    if clipping is None:
        return
    if clipping.kind == "norm":
        nn.utils.clip_grad_norm_(net.parameters(), clipping.limit)
    elif clipping.kind == "value":
        nn.utils.clip_grad_value_(net.parameters(), clipping.limit)
    else:
        for parameter in net.parameters():
            nn.utils.clip_grad_norm_([parameter], clipping.limit)


def drawn_slopes(plan: Plan, seeds: np.ndarray, step: int, rows: int) -> list[Tensor] | None:
    """Return RReLU's slopes of a step, by hidden layer."""
    bounds = plan.network.random_slopes
    if bounds is None:
        return None
    found, first = [], 0
    for width in plan.network.widths[1:-1]:
        counters = entry_counters(
            step,
            range(first, first + width),
            rows,
            hidden=plan.network.hidden_units,
            batch=plan.batch,
        )
        share = noise(noise_keys(seeds), counters)[0]
        slopes = bounds[0] + (bounds[1] - bounds[0]) * share
        found.append(torch.tensor(slopes, dtype=getattr(torch, plan.network.dtype)))
        first += width
    return found
