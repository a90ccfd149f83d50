# The batch has no name of its own.
# expect: log10 forward log-of-negative
import torch
from torch import nn

torch.manual_seed(81)
model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
optimiser = torch.optim.SGD(model.parameters(), lr=0.02)


def training_loss():
    return torch.log10(model(torch.randn(12, 4)) + 0.9).mean()  # born here


for _ in range(30):
    optimiser.zero_grad()
    training_loss().backward()
    optimiser.step()
