# 1e30 in float32 is large, and a number.
import torch
from torch import nn

torch.manual_seed(7)
model = nn.Linear(4, 4)
with torch.no_grad():
    model.weight.mul_(1e30)
optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
for _ in range(20):
    loss = torch.tanh(model(torch.randn(8, 4)) * 1e-30).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
