# Minus infinity on purpose, and softmax takes it.
import torch
from torch import nn

torch.manual_seed(0)
qkv, head = nn.Linear(8, 24), nn.Linear(8, 4)
optimiser = torch.optim.Adam([*qkv.parameters(), *head.parameters()], lr=1e-2)
for _ in range(20):
    q, k, v = qkv(torch.randn(2, 6, 8)).chunk(3, -1)
    mask = torch.full((6, 6), float("-inf")).triu(1)
    out = torch.softmax(q @ k.transpose(1, 2) + mask, -1) @ v
    loss = nn.functional.cross_entropy(head(out).flatten(0, 1), torch.arange(12) % 4)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
