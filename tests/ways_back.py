"""Ways of taking gradients: roots, hooks, inputs, checkpoints and functions of the user's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from networks import Network, scalar_loss
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


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


WAYS_BACK: dict[str, Callable[[], Network]] = {
    "checkpoint": checkpointed(reentrant=False),
    "checkpoint, reentrant": checkpointed(reentrant=True),
    "checkpoint of a shared layer": checkpointed(reentrant=False, shared=True),
    "checkpoint of a shared layer, reentrant": checkpointed(reentrant=True, shared=True),
    "two losses": two_losses,
    "two roots": two_roots,
    "outputs of one node as roots": outputs_of_one_node_as_roots,
    "vector root": vector_root,
    "detached part": detached_part,
    "user's hooks": users_hooks,
    "module's hooks": modules_hooks,
    "grad of parameters": grad_of_parameters,
    "backward to some": backward_to_some,
    "gradient penalty": gradient_penalty,
    "own function": own_function,
    "grad around a backward": grad_around_a_backward,
    "raw tensors": raw_tensors,
}
