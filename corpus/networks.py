"""The networks, written as a user would; ``# site: NAME`` marks the lines that labels point to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from corpus.recipes import Recipe
from corpus.tasks import Task


def _squared_relu(x: Tensor) -> Tensor:
    return torch.relu(x).square()


def _top_k(x: Tensor) -> Tensor:
    least = x.topk(max(1, x.shape[-1] // 4), dim=-1).values[..., -1:]
    return torch.where(x >= least, x, torch.zeros_like(x))


ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "elu": functional.elu,
    "leaky": functional.leaky_relu,
    "selu": functional.selu,
    "mish": functional.mish,
    "hardswish": functional.hardswish,
    "relu2": _squared_relu,
    "top-k": _top_k,
    "linear": lambda x: x,
}


def _norm(recipe: Recipe, width: int) -> nn.Module:
    if recipe.norm == "batch":
        return nn.BatchNorm1d(width)
    return nn.LayerNorm(width) if recipe.norm == "layer" else nn.Identity()


class Mlp(nn.Module):
    """A plain chain of layers, with residual sums around the square ones if asked for."""

    def __init__(self, recipe: Recipe, inputs: int, outputs: int) -> None:
        super().__init__()
        sizes = [inputs, *[recipe.width] * recipe.depth]
        self.recipe = recipe
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        self.norms = nn.ModuleList(_norm(recipe, width) for width in sizes[1:])
        self.head = nn.Linear(sizes[-1], outputs)
        self.act = ACTIVATIONS[recipe.activation]
        if recipe.residual == "zero":
            self.gains = nn.Parameter(torch.zeros(recipe.depth))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for number, layer in enumerate(self.layers):
            before = x
            x = layer(x)  # site: weights
            x = self.norms[number](x)  # site: norm
            if self.recipe.checkpointed:
                x = checkpoint(self.act, x, use_reentrant=False)
            else:
                x = self.act(x)  # site: activation
            if self.recipe.dropout:
                x = functional.dropout(x, self.recipe.dropout, self.training)
            if self.recipe.residual and before.shape == x.shape:
                x = before + (self.gains[number] * x if self.recipe.residual == "zero" else x)
            if number == self.recipe.detach_at:
                x = x.detach()  # site: detach
        return self.head(x)  # site: head


class Cnn(nn.Module):
    """Convolutions over the 8 x 8 digits."""

    def __init__(self, recipe: Recipe, _inputs: int, outputs: int) -> None:
        super().__init__()
        channels = [1, *[recipe.width // 2] * recipe.depth]
        self.recipe = recipe
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(channels)
        )
        batch = recipe.norm == "batch"
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(width) if batch else nn.Identity() for width in channels[1:]
        )
        self.head = nn.Linear(channels[-1] * 16, outputs)
        self.act = ACTIVATIONS[recipe.activation]

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(-1, 1, 8, 8)
        for number, layer in enumerate(self.layers):
            x = layer(x)  # site: convolution
            x = self.norms[number](x)
            x = self.act(x)  # site: convolution-activation
            if number == self.recipe.detach_at:
                x = x.detach()  # site: convolution-detach
        x = functional.max_pool2d(x, 2).flatten(1)
        return self.head(x)  # site: convolution-head


class Rnn(nn.Module):
    """A recurrent network written out as a loop."""

    def __init__(self, recipe: Recipe, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inward = nn.Linear(inputs, recipe.width)
        self.recurrent = nn.Linear(recipe.width, recipe.width)
        self.head = nn.Linear(recipe.width, outputs)
        self.recipe = recipe
        self.act = ACTIVATIONS[recipe.activation]

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), self.recipe.width)
        for moment in x.unbind(1):
            state = self.act(self.inward(moment) + self.recurrent(state))  # site: loop
            if self.recipe.detach_at is not None:
                state = state.detach()  # site: loop-detach
        return self.head(state)  # site: loop-head


class Gated(nn.Module):
    """A library's LSTM or GRU."""

    def __init__(self, recipe: Recipe, inputs: int, outputs: int) -> None:
        super().__init__()
        cell = nn.LSTM if recipe.network == "lstm" else nn.GRU
        self.cell = cell(inputs, recipe.width, batch_first=True)
        self.head = nn.Linear(recipe.width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.cell(x)  # site: cell
        return self.head(states[:, -1])  # site: cell-head


class Transformer(nn.Module):
    """An encoder of a few blocks over words, the answer read at the first."""

    def __init__(self, recipe: Recipe, _inputs: int, outputs: int) -> None:
        super().__init__()
        self.words = nn.Embedding(100, recipe.width)
        self.places = nn.Parameter(0.1 * torch.randn(8, recipe.width))
        self.blocks = nn.ModuleList(Block(recipe) for _ in range(recipe.depth))
        self.head = nn.Linear(recipe.width, outputs)
        self.recipe = recipe

    def forward(self, x: Tensor) -> Tensor:
        hidden = (x < self.recipe.mask_below)[:, None]
        x = self.recipe.input_scale * self.words(x) + self.places
        for number, block in enumerate(self.blocks):
            x = block(x, hidden)
            if number == self.recipe.detach_at:
                x = x.detach()  # site: block-detach
        return self.head(x.mean(1))  # site: block-head


class Block(nn.Module):
    """Attention and two linear layers, each with its norm and its residual sum."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        width = recipe.width
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.act = ACTIVATIONS[recipe.activation]
        self.recipe = recipe

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        query, key, value = self.qkv(self.first(x)).chunk(3, dim=-1)
        scores = query @ key.transpose(1, 2) / query.shape[-1] ** 0.5
        if self.recipe.score_scale != 1:
            scores = scores * self.recipe.score_scale
        if self.recipe.mask_below:
            scores = scores.masked_fill(hidden, -torch.inf)
        attention = scores.softmax(-1)  # site: attention
        x = x + self.out(attention @ value)
        hidden = self.up(self.second(x))  # site: block-weights
        return x + self.down(self.act(hidden))  # site: block-activation


class Mixture(nn.Module):
    """A mixture of experts: each example goes to one of four."""

    def __init__(self, recipe: Recipe, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inward = nn.Linear(inputs, recipe.width)
        self.router = nn.Linear(recipe.width, 4)
        self.experts = nn.ModuleList(nn.Linear(recipe.width, recipe.width) for _ in range(4))
        self.head = nn.Linear(recipe.width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.inward(x.flatten(1)))
        weight, choice = self.router(x).softmax(-1).max(-1)
        mixed = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            mine = choice == number
            mixed[mine] = torch.relu(expert(x[mine]))
        return self.head(x + weight[:, None] * mixed)


class Lora(nn.Module):
    """A frozen network whose layers learn a sum of rank two that starts at zero."""

    def __init__(self, recipe: Recipe, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = Mlp(recipe, inputs, recipe.width).requires_grad_(requires_grad=False)
        self.down = nn.Linear(inputs, 2, bias=False)
        self.up = nn.Linear(2, recipe.width, bias=False)
        self.head = nn.Linear(recipe.width, outputs)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return self.head(torch.relu(self.body(x) + self.up(self.down(x))))


class Autoencoder(nn.Module):
    """Down to a quarter of the width and up again."""

    def __init__(self, recipe: Recipe, inputs: int, outputs: int) -> None:
        super().__init__()
        wide, narrow = recipe.width, recipe.width // 2
        sizes = [inputs, *[wide] * (recipe.depth // 2), narrow, *[wide] * (recipe.depth // 2)]
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        self.head = nn.Linear(sizes[-1], outputs)
        self.act = ACTIVATIONS[recipe.activation]
        self.recipe = recipe

    def forward(self, x: Tensor) -> Tensor:
        for number, layer in enumerate(self.layers):
            x = self.act(layer(x))  # site: coder
            if number == self.recipe.detach_at:
                x = x.detach()  # site: coder-detach
        return self.head(x)  # site: coder-head


class Standardised(nn.Module):
    """A network behind a standardisation; columns that are constant make its scale infinite."""

    def __init__(self, network: nn.Module, inputs: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("centre", inputs.mean(0))
        self.register_buffer("scale", 1 / inputs.std(0))

    def forward(self, x: Tensor) -> Tensor:
        return self.network((x - self.centre) * self.scale)  # site: standardise


NETWORKS: Mapping[str, Callable[[Recipe, int, int], nn.Module]] = {
    "mlp": Mlp,
    "cnn": Cnn,
    "rnn": Rnn,
    "gru": Gated,
    "lstm": Gated,
    "transformer": Transformer,
    "mixture": Mixture,
    "lora": Lora,
    "autoencoder": Autoencoder,
}


def network(recipe: Recipe, task: Task) -> nn.Module:
    """Build a recipe's network and draw its weights."""
    recurrent = recipe.network in {"rnn", "gru", "lstm"}
    inputs = task.inputs.shape[-1] if recurrent else task.inputs[0].numel()
    model = NETWORKS[recipe.network](recipe, inputs, task.outputs)
    draw(model, recipe)
    return Standardised(model, task.inputs) if recipe.standardised else model


def hidden(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the layers between input and head whose weights a recipe draws, with their names."""
    return [
        (name, layer)
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d) and not name.endswith(("head", "up"))
    ]


def draw(model: nn.Module, recipe: Recipe) -> None:
    """Draw the hidden layers' weights; gated cells keep torch's, scaled."""
    layers = hidden(model)
    for number, (name, layer) in enumerate(layers):
        if recipe.network in {"transformer", "lora"} and recipe.weights in {"he", "xavier"}:
            scheme = "torch"
        else:
            scheme = "orthogonal" if name == "recurrent" and recipe.weights == "he" else None
        chosen = recipe.layer is None or number == recipe.layer
        _draw_one(layer.weight, scheme or recipe.weights, recipe if chosen else None)
        if layer.bias is not None and chosen and scheme != "torch":
            nn.init.constant_(layer.bias, recipe.bias)
    if not layers:
        with torch.no_grad():
            for weight in model.cell.parameters():
                weight.mul_(recipe.weight_scale)


def _draw_one(weight: Tensor, scheme: str, recipe: Recipe | None) -> None:
    if scheme == "he":
        nn.init.kaiming_normal_(weight)
    elif scheme == "xavier":
        nn.init.xavier_normal_(weight)
    elif scheme == "orthogonal":
        nn.init.orthogonal_(weight)
    elif scheme == "constant":
        nn.init.constant_(weight, 1 / weight[0].numel())
    if recipe is not None:
        with torch.no_grad():
            weight.mul_(recipe.weight_scale)
            if recipe.weight_mean:
                weight.add_(recipe.weight_mean * weight.std())
