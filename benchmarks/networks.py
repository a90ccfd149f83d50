"""The networks that are timed, with the batches they are fed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WORDS = 512


class Block(nn.Module):
    """Causal attention and a feed-forward layer, each with its norm, dropout and residual."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[batch, length, width]`` to the same shape."""
        batch, length, width = x.shape
        q, k, v = (
            part.view(batch, length, self.heads, -1).transpose(1, 2)
            for part in self.qkv(self.norm1(x)).chunk(3, dim=-1)
        )
        attended = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + nn.functional.dropout(
            self.project(attended.transpose(1, 2).reshape(batch, length, width)), 0.1
        )
        return x + nn.functional.dropout(self.down(nn.functional.gelu(self.up(self.norm2(x)))), 0.1)


class Transformer(nn.Module):
    """A language model without frills."""

    def __init__(self, *, layers: int, width: int, length: int = 64, heads: int = 4) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(WORDS, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, WORDS)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens ``[batch, length]`` to logits ``[batch, length, words]``."""
        x = self.token(tokens) + self.position(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.norm(x))
        return logits


class Trainer:
    """A network, its data and its optimiser; ``step`` is one step of training."""

    def __init__(self, model: nn.Module, inputs: Tensor, labels: Tensor, *, batch: int) -> None:
        self.model, self.inputs, self.labels, self.batch = model, inputs, labels, batch
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def to(self, device: str) -> Trainer:
        """Move all to a device, before the first step."""
        self.model.to(device)
        self.inputs, self.labels = self.inputs.to(device), self.labels.to(device)
        return self

    def step(self) -> Tensor:
        """Take one step on a random batch and return its loss."""
        picked = torch.randint(len(self.inputs), (self.batch,), device=self.inputs.device)
        self.optimizer.zero_grad()
        logits = self.model(self.inputs[picked])
        loss = nn.functional.cross_entropy(logits.flatten(0, -2), self.labels[picked].flatten())
        loss.backward()
        self.optimizer.step()
        return loss.detach()


def transformer(*, layers: int, width: int, batch: int = 8, length: int = 64) -> Trainer:
    """Return a transformer on random tokens."""
    torch.manual_seed(0)
    tokens = torch.randint(WORDS, (256, length + 1))
    model = Transformer(layers=layers, width=width, length=length)
    return Trainer(model, tokens[:, :-1], tokens[:, 1:], batch=batch)


def perceptron(*, layers: int, width: int, batch: int = 64) -> Trainer:
    """Return a ReLU network on random vectors of ten classes."""
    torch.manual_seed(0)
    inside = [m for _ in range(layers - 1) for m in (nn.Linear(width, width), nn.ReLU())]
    model = nn.Sequential(nn.Linear(32, width), nn.ReLU(), *inside, nn.Linear(width, 10))
    return Trainer(model, torch.randn(4096, 32), torch.randint(10, (4096,)), batch=batch)
