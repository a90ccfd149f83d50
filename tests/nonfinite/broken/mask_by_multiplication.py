# expect: mul forward zero-times-inf
import torch
from torch import nn

torch.manual_seed(9)
query, key = nn.Linear(8, 8), nn.Linear(8, 8)
optimiser = torch.optim.SGD([*query.parameters(), *key.parameters()], lr=0.1)
tokens = torch.randn(2, 5, 8)
future = torch.ones(5, 5, dtype=torch.bool).triu(1)
for _ in range(3):
    scores = query(tokens) @ key(tokens).transpose(1, 2)
    scores = scores.masked_fill(future, float("-inf"))
    kept = scores * (~future).float()  # born here
    loss = torch.softmax(kept, -1).square().sum()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
