# expect: - data bad-input
import torch
from torch import nn

torch.manual_seed(42)
model = nn.Linear(3, 1)
optimiser = torch.optim.Adam(model.parameters())
prices = torch.rand(40, 1)
prices[33] = float("nan")
houses = torch.randn(40, 3)
for rows in torch.arange(40).split(10):
    estimate = model(houses[rows])
    difference = estimate - prices[rows]  # born here
    loss = difference.abs().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
