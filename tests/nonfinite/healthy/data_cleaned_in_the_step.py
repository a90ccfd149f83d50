import torch
from torch import nn

torch.manual_seed(16)
data = torch.randn(64, 4)
data[data > 2] = float("nan")
data[5] = float("inf")
model = nn.Linear(4, 1)
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
for rows in torch.arange(64).split(8):
    x = torch.nan_to_num(data[rows], nan=0.0, posinf=1.0)
    loss = model(x).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
