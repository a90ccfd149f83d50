# Entries of 1e25: their norm in float32 would overflow, the gradient has not.
import torch
from torch import nn

torch.manual_seed(8)
model = nn.Linear(64, 16)
optimiser = torch.optim.SGD(model.parameters(), lr=1e-30)
for _ in range(20):
    loss = 1e25 * model(torch.randn(8, 64)).sum()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
