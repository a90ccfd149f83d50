# Subnormal gradients.
import torch
from torch import nn

torch.manual_seed(9)
model = nn.Linear(4, 1)
optimiser = torch.optim.Adam(model.parameters())
for _ in range(20):
    loss = 1e-41 * model(torch.randn(8, 4)).square().sum()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
