"""Networks and the ways their gradients are taken: what the ledger must account for.

Each builder returns a :class:`Network`; its ``backward`` runs forward and backward once and returns
the norm of the gradient that the backward pass started with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


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


def checkpointed(*, reentrant: bool, shared: bool = False) -> Callable[[], Network]:
    """Three checkpointed blocks; ``shared``: three calls of one, which is called outside too."""

    def build() -> Network:
        first = nn.Linear(4, 4)
        make = (lambda: first) if shared else (lambda: nn.Linear(4, 4))
        blocks = nn.ModuleList(nn.Sequential(make(), nn.Tanh(), nn.Dropout(0.1)) for _ in range(3))
        model, x = nn.Sequential(first, *blocks, nn.Linear(4, 1)), torch.randn(6, 4)

        def loss() -> Tensor:
            h = first(x)
            for block in blocks:
                h = checkpoint(block, h, use_reentrant=reentrant)
            return model[-1](h).square().mean()

        return scalar_loss(model, loss)

    return build


def two_losses() -> Network:
    trunk, left, right = nn.Linear(4, 6), nn.Linear(6, 1), nn.Linear(6, 3)
    model, x, y = nn.ModuleList([trunk, left, right]), torch.randn(5, 4), torch.randint(3, (5,))

    def loss() -> Tensor:
        h = F.silu(trunk(x))
        return F.mse_loss(left(h), x[:, :1]) + 0.3 * F.cross_entropy(right(h), y)

    return scalar_loss(model, loss)


def two_roots() -> Network:
    trunk, left, right = nn.Linear(4, 6), nn.Linear(6, 1), nn.Linear(6, 3)
    model, x, y = nn.ModuleList([trunk, left, right]), torch.randn(5, 4), torch.randint(3, (5,))

    def backward() -> float:
        h = F.silu(trunk(x))
        first = F.mse_loss(left(h), x[:, :1])
        second = F.cross_entropy(right(h), y) + first  # a root above a root
        torch.autograd.backward([first, second], [torch.tensor(2.0), torch.tensor(-1.0)])
        return math.sqrt(5)

    return Network(dict(model.named_parameters()), backward, model)


def outputs_of_one_node_as_roots() -> Network:
    model, x = nn.Linear(4, 6), torch.randn(5, 4)

    def backward() -> float:
        a, b, _ = model(x).tanh().split([1, 2, 3], dim=1)
        torch.autograd.backward([a, b], [torch.full_like(a, 3.0), torch.ones_like(b)])
        return math.sqrt(9 * 5 + 10)

    return Network(dict(model.named_parameters()), backward, model)


def vector_root() -> Network:
    model, x, weights = (
        nn.Sequential(nn.Linear(4, 6), nn.Mish()),
        torch.randn(5, 4),
        torch.randn(5, 6),
    )

    def backward() -> float:
        model(x).backward(weights)
        return float(weights.double().norm())

    return Network(dict(model.named_parameters()), backward, model)


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


def detached_part() -> Network:
    below, above = nn.Linear(4, 5), nn.Linear(5, 2)
    model, x = nn.ModuleDict({"below": below, "above": above}), torch.randn(6, 4)

    def loss() -> Tensor:
        h = below(x)
        return (above(h.detach()) * h[:, :2]).sum() + above(torch.relu(h)).mean()

    return scalar_loss(model, loss)


def users_hooks() -> Network:
    """Two hooks in a row free memory in between, so that addresses come round again."""
    first, second = nn.Linear(4, 64), nn.Linear(64, 2)
    model, x = nn.Sequential(first, second), torch.randn(16, 4)
    first.weight.register_hook(lambda g: g * 3)
    second.bias.register_hook(lambda g: g.mul_(0.25))

    def loss() -> Tensor:
        h = first(x)
        h.register_hook(lambda g: g * 0.5)
        h.register_hook(lambda g: g * 0.1)
        z = torch.tanh(h)
        z.register_hook(lambda g: g.clamp(-1e-3, 1e-3))
        assert z.grad_fn is not None
        z.grad_fn.register_prehook(lambda gs: (gs[0] * 7,))
        return second(z).square().mean()

    return scalar_loss(model, loss)


def modules_hooks() -> Network:
    model, x = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1)), torch.randn(6, 4)
    model[1].register_full_backward_hook(lambda _m, grads, _out: (grads[0] * 2,))
    model[2].register_full_backward_pre_hook(lambda _m, grads: (grads[0] * 5,))
    return scalar_loss(model, lambda: model(x).mean())


def grad_of_parameters() -> Network:
    model, x = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1)), torch.randn(6, 4)

    def backward() -> float:
        parameters = list(model.parameters())
        for p, g in zip(parameters, torch.autograd.grad(model(x).sum(), parameters), strict=True):
            p.grad = g
        return 1.0

    return Network(dict(model.named_parameters()), backward, model)


def backward_to_some() -> Network:
    model, x = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1)), torch.randn(6, 4)
    some = [model[0].weight, model[2].bias]
    return scalar_loss(model, lambda: model(x).sum(), inputs=some)


def gradient_penalty() -> Network:
    model = nn.Sequential(nn.Linear(4, 7), nn.Softplus(), nn.Linear(7, 1))
    x = torch.randn(6, 4)

    def loss() -> Tensor:
        point = x.clone().requires_grad_()
        score = model(point)
        (slope,) = torch.autograd.grad(score.sum(), point, create_graph=True)
        return score.mean() + 10 * (slope.norm(2, dim=1) - 1).square().mean()

    return scalar_loss(model, loss)


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


class Swap(torch.autograd.Function):
    """Two outputs whose gradients go back as they came, and a product for a third input."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(a, scale)
        return b.clone(), a * scale

    @staticmethod
    def backward(ctx: Any, to_b: Tensor, to_a: Tensor) -> Any:  # type: ignore[override]
        a, scale = ctx.saved_tensors
        return to_a * scale, to_b, (to_a * a).sum()


def own_function() -> Network:
    first, second = nn.Linear(4, 5), nn.Linear(4, 5)
    scale = nn.Parameter(torch.tensor(0.3))
    model = nn.ModuleDict({"first": first, "second": second})
    model.register_parameter("scale", scale)
    x = torch.randn(6, 4)

    def loss() -> Tensor:
        b, a = Swap.apply(first(x), second(x), scale)
        return (a.exp() * b).mean() + 50 * b.sum()

    return scalar_loss(model, loss)


class Recompute(torch.autograd.Function):
    """Runs a backward pass inside its own, as reversible layers do."""

    @staticmethod
    def forward(ctx: Any, module: nn.Module, x: Tensor) -> Tensor:
        ctx.module, ctx.x = module, x.detach()
        with torch.no_grad():
            return module(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # type: ignore[override]
        with torch.enable_grad():
            x = ctx.x.requires_grad_()
            (onward,) = torch.autograd.grad(ctx.module(x), x, gradient)
        return None, onward


def grad_around_a_backward() -> Network:
    below, inner, above = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 1)
    model = nn.ModuleDict({"below": below, "inner": inner, "above": above})
    x = torch.randn(6, 4)

    def backward() -> float:
        parameters = [*below.parameters(), *above.parameters()]
        loss = above(Recompute.apply(inner, below(x))).square().mean()
        for p, g in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            p.grad = g
        return 1.0

    return Network(dict(model.named_parameters()), backward, model)


def raw_tensors() -> Network:
    weights = [(torch.randn(5, 5) * 0.4).requires_grad_() for _ in range(3)]
    x = torch.randn(7, 5)

    def backward() -> float:
        h = x
        for weight in weights:
            h = torch.tanh(h @ weight)
        h.pow(2).mean().backward()
        return 1.0

    return Network({f"weights[{i}]": w for i, w in enumerate(weights)}, backward)


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
    "checkpoint": checkpointed(reentrant=False),
    "checkpoint, reentrant": checkpointed(reentrant=True),
    "checkpoint of a shared layer": checkpointed(reentrant=False, shared=True),
    "checkpoint of a shared layer, reentrant": checkpointed(reentrant=True, shared=True),
    "two losses": two_losses,
    "two roots": two_roots,
    "outputs of one node as roots": outputs_of_one_node_as_roots,
    "vector root": vector_root,
    "many outputs": many_outputs,
    "frozen part": frozen_part,
    "detached part": detached_part,
    "user's hooks": users_hooks,
    "module's hooks": modules_hooks,
    "grad of parameters": grad_of_parameters,
    "backward to some": backward_to_some,
    "gradient penalty": gradient_penalty,
    "sparse embedding": sparse_embedding,
    "bfloat16": half_precision,
    "autocast": autocast,
    "complex": complex_parameters,
    "own function": own_function,
    "grad around a backward": grad_around_a_backward,
    "raw tensors": raw_tensors,
    "lazy": lazy,
    "nested": nested(torch.strided),
    "jagged": nested(torch.jagged),
    "mkldnn": mkldnn,
    "thousands of views": thousands_of_views,
    "empty batch": empty_batch,
}
