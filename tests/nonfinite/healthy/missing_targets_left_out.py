import torch
from torch import nn

torch.manual_seed(17)
targets = torch.randn(64, 1)
targets[::5] = float("nan")
model = nn.Linear(4, 1)
optimiser = torch.optim.Adam(model.parameters())
for rows in torch.arange(64).split(16):
    y = targets[rows]
    there = ~torch.isnan(y)
    loss = (model(torch.randn(16, 4))[there] - y[there]).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
