"""Attention over sequences of different lengths; one of them is empty, and the loss becomes NaN."""

import torch
from torch import nn

torch.manual_seed(0)


class Pooled(nn.Module):
    """Weighs the entries of a sequence and classifies their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(4, 16)
        self.score = nn.Linear(16, 1)
        self.head = nn.Linear(16, 2)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Map sequences ``[batch, time, 4]`` to logits ``[batch, 2]``."""
        h = torch.tanh(self.embed(x))
        padding = torch.arange(x.shape[1]) >= lengths[:, None]
        scores = self.score(h).squeeze(-1).masked_fill(padding, float("-inf"))
        weights = torch.softmax(scores, dim=-1)
        return self.head((weights.unsqueeze(-1) * h).sum(1))


sequences = torch.randn(512, 12, 4)
lengths = torch.randint(2, 13, (512,))
lengths[431] = 0  # a recording of which nothing was left after cleaning
labels = (sequences[:, 0, 0] > 0).long()
model = Pooled()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(12):
    for rows in torch.arange(512).split(32):
        loss = nn.functional.cross_entropy(model(sequences[rows], lengths[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch:2}  loss {loss.item():.4f}")
