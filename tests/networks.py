"""Networks of many kinds, whose gradients the ledger must account for.

Each builder returns a :class:`Network`; its ``backward`` runs forward and backward once and returns
the norm of the gradient that the backward pass started with.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Network:
    """Named parameters, and one backward pass through them."""

    parameters: Mapping[str, Tensor]
    backward: Callable[[], float]
    module: nn.Module | None = None


def scalar_loss(module: nn.Module, loss: Callable[[], Tensor], **options: Any) -> Network:
    def backward() -> float:
        loss().backward(**options)
        return 1.0

    return Network(dict(module.named_parameters()), backward, module)


def mlp() -> Network:
    model = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 9), nn.GELU(), nn.Linear(9, 3))
    x, y = torch.randn(8, 6), torch.randint(3, (8,))
    return scalar_loss(model, lambda: F.cross_entropy(model(x), y))


def convolutions() -> Network:
    model = nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1),
        nn.BatchNorm2d(5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(5, 5, 3, groups=5),
        nn.GroupNorm(1, 5),
        nn.Hardswish(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(5, 2),
    )
    x, y = torch.randn(4, 3, 8, 8), torch.randint(2, (4,))
    return scalar_loss(model, lambda: F.cross_entropy(model(x), y))


def in_place_residual() -> Network:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            shortcut = x
            x = self.second(self.relu(self.first(x)))
            x += shortcut
            return self.relu(x)

    model = nn.Sequential(nn.Conv2d(1, 4, 3), Block(), Block(), nn.Flatten(), nn.LazyLinear(2))
    x, y = torch.randn(3, 1, 6, 6), torch.randn(3, 2)
    model(x)
    return scalar_loss(model, lambda: F.mse_loss(model(x), y))


def dense_net() -> Network:
    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(4 + 3 * i, 3) for i in range(4))
            self.head = nn.Linear(16, 1)

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers:
                x = torch.cat([x, torch.sigmoid(layer(x))], dim=1)
            return self.head(x)

    model, x = Dense(), torch.randn(5, 4)
    return scalar_loss(model, lambda: model(x).exp().mean())


def recurrent(kind: type[nn.RNNBase]) -> Callable[[], Network]:
    def build() -> Network:
        cell, head = kind(3, 5, num_layers=2, batch_first=True), nn.Linear(5, 2)
        model, x = nn.ModuleDict({"cell": cell, "head": head}), torch.randn(4, 12, 3)
        return scalar_loss(model, lambda: head(cell(x)[0][:, -1]).square().sum())

    return build


def attention() -> Network:
    class Attentive(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.norm = nn.Embedding(11, 8), nn.LayerNorm(8)
            self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
            self.project = nn.Linear(8, 24)

        def forward(self, tokens: Tensor) -> Tensor:
            x = self.embed(tokens)
            x = x + self.attend(x, x, x, need_weights=True)[0]
            q, k, v = self.project(self.norm(x)).chunk(3, dim=-1)
            x = x + F.scaled_dot_product_attention(q, k, v, is_causal=True)
            scores = (q @ k.transpose(1, 2) / math.sqrt(8)).softmax(dim=-1)
            return x + scores @ v

    model, tokens = Attentive(), torch.randint(11, (2, 6))
    return scalar_loss(model, lambda: model(tokens).square().mean())


def transformer_layer() -> Network:
    model = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True, activation="gelu")
    x = torch.randn(2, 5, 8)
    return scalar_loss(model, lambda: model(x).tanh().sum())


class Tied(nn.Module):
    """An embedding whose weight is the output layer's too."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.inner = nn.Embedding(7, 4), nn.Linear(4, 4)
        self.out = nn.Linear(4, 7)
        self.out.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(torch.relu(self.inner(self.embed(tokens))))


def tied_weights() -> Network:
    model, tokens = Tied(), torch.randint(7, (3, 5))
    return scalar_loss(
        model, lambda: F.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten())
    )


def many_outputs() -> Network:
    model, x = nn.Sequential(nn.Linear(6, 12), nn.ELU(), nn.Linear(12, 12)), torch.randn(3, 6)

    def loss() -> Tensor:
        a, b, c = model(x).chunk(3, dim=1)
        d, _ = b.split([1, 3], dim=1)  # one output gets no gradient
        e, f, g, h = c.unbind(dim=1)
        values, _ = torch.topk(a, 2)
        return (values.sum() * d.sum() + (e * f).sum() - (g / (1 + h * h)).mean()).abs()

    return scalar_loss(model, loss)


def frozen_part() -> Network:
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 2))
    model[2].requires_grad_(False)
    x = torch.randn(6, 4)
    return scalar_loss(model, lambda: model(x).logsumexp(dim=1).sum())


def sparse_embedding() -> Network:
    model = nn.Sequential(nn.Embedding(50, 4, sparse=True), nn.Linear(4, 1))
    tokens = torch.tensor([[1, 2, 2], [2, 49, 1]])
    return scalar_loss(model, lambda: model(tokens).square().sum())


def half_precision() -> Network:
    model = nn.Sequential(nn.Linear(8, 8), nn.SiLU(), nn.Linear(8, 2)).to(torch.bfloat16)
    x = torch.randn(6, 8, dtype=torch.bfloat16)
    return scalar_loss(model, lambda: model(x).float().square().mean())


def autocast() -> Network:
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.LayerNorm(8), nn.Linear(8, 2))
    x, y = torch.randn(6, 8), torch.randint(2, (6,))

    def loss() -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return F.cross_entropy(model(x), y)

    return scalar_loss(model, loss)


def complex_parameters() -> Network:
    first = torch.randn(4, 4, dtype=torch.complex64, requires_grad=True)
    second = torch.randn(4, dtype=torch.complex64, requires_grad=True)
    model = nn.ParameterDict({"first": nn.Parameter(first), "second": nn.Parameter(second)})
    x = torch.randn(5, 4, dtype=torch.complex64)

    def loss() -> Tensor:
        spectrum = torch.fft.fft(x @ model["first"], dim=1) * model["second"]
        return spectrum.abs().square().mean() + torch.view_as_real(spectrum).tanh().sum()

    return scalar_loss(model, loss)


def lazy() -> Network:
    """Its parameters have no shape before the first forward pass."""
    model, x = nn.Sequential(nn.LazyLinear(5), nn.ReLU(), nn.LazyLinear(1)), torch.randn(6, 4)
    return scalar_loss(model, lambda: model(x).square().mean())


def nested(layout: torch.layout) -> Callable[[], Network]:
    def build() -> Network:
        model, parts = nn.Linear(4, 4), [torch.randn(2, 4), torch.randn(3, 4)]

        def loss() -> Tensor:
            x = torch.nested.nested_tensor(parts, layout=layout)
            return torch.nested.to_padded_tensor(F.relu(model(x)), 0.0).square().sum()

        return scalar_loss(model, loss)

    return build


def mkldnn() -> Network:
    model, x = nn.Linear(4, 4), torch.randn(6, 4)
    return scalar_loss(model, lambda: F.relu(model(x).to_mkldnn().to_dense()).square().sum())


def thousands_of_views() -> Network:
    model, x = nn.Linear(4, 4), torch.randn(4, 4)

    def loss() -> Tensor:
        h = model(x)
        for i in range(2000):
            h = h.view(2, 8) if i % 2 == 0 else h.view(4, 4)
        return F.relu(h).square().sum()

    return scalar_loss(model, loss)


def empty_batch() -> Network:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
    return scalar_loss(model, lambda: model(torch.randn(0, 4)).sum())


_STEPS: tuple[Callable[..., Tensor], ...] = (
    lambda h, _: h.tanh(),
    lambda h, _: F.relu(h) + 0.1 * h,
    lambda h, _: h.t().contiguous().t(),
    lambda h, _: h.contiguous().view(2, 8).view(4, 4),
    lambda h, _: torch.cat(h.chunk(2, dim=1)[::-1], dim=1),
    lambda h, _: h.softmax(dim=1),
    lambda h, _: h - h.mean(dim=0, keepdim=True),
    lambda h, _: h.detach() * h,
    lambda h, _: h.clone().mul_(h),
    lambda h, other: h + other,
    lambda h, other: h * other.sigmoid(),
    lambda h, other: h @ other / 4,
    lambda h, other: torch.where(h > other, h, other * 0.5),
    lambda h, other: torch.stack([h, other]).sum(dim=0),
)


def random_graph(seed: int) -> Network:
    """Twenty steps, each from one or two of all tensors so far, six weights among them."""
    draw = random.Random(seed)
    model = nn.ParameterList(torch.randn(4, 4) * 0.5 for _ in range(6))
    plan = [(draw.choice(_STEPS), draw.random(), draw.random()) for _ in range(20)]

    def loss() -> Tensor:
        tensors: list[Tensor] = [torch.randn(4, 4), *model]
        for step, first, second in plan:
            h, other = (tensors[int(share * len(tensors))] for share in (first, second))
            tensors.append(step(h, other))
        return torch.stack(tensors[-6:]).square().mean() + sum(p.mean() for p in model)

    return scalar_loss(model, loss)


def deep_linear(scale: float, depth: int) -> Network:
    model = nn.Sequential(*(nn.Linear(4, 4, bias=False) for _ in range(depth)))
    for layer in model:
        layer.weight.data = scale * torch.eye(4)
    x = torch.randn(3, 4)
    return scalar_loss(model, lambda: model(x).sum())


NETWORKS: dict[str, Callable[[], Network]] = {
    "mlp": mlp,
    "convolutions": convolutions,
    "in-place residual": in_place_residual,
    "dense net": dense_net,
    "RNN": recurrent(nn.RNN),
    "GRU": recurrent(nn.GRU),
    "LSTM": recurrent(nn.LSTM),
    "attention": attention,
    "transformer layer": transformer_layer,
    "tied weights": tied_weights,
    "many outputs": many_outputs,
    "frozen part": frozen_part,
    "sparse embedding": sparse_embedding,
    "bfloat16": half_precision,
    "autocast": autocast,
    "complex": complex_parameters,
    "lazy": lazy,
    "nested": nested(torch.strided),
    "jagged": nested(torch.jagged),
    "mkldnn": mkldnn,
    "thousands of views": thousands_of_views,
    "empty batch": empty_batch,
}
