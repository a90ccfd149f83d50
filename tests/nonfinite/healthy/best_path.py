# A trellis begins at minus infinity everywhere but at its first state.
import torch
from torch import nn

torch.manual_seed(24)
emit = nn.Linear(4, 3)
optimiser = torch.optim.SGD(emit.parameters(), lr=0.05)
for _ in range(10):
    scores = emit(torch.randn(6, 4))
    path = torch.tensor([0.0, float("-inf"), float("-inf")])
    for score in scores:
        path = torch.maximum(path, path.roll(1)) + score
    loss = -path.max()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
