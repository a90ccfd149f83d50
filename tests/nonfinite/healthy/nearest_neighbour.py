import torch
from torch import nn

torch.manual_seed(19)
encoder = nn.Linear(5, 3)
optimiser = torch.optim.SGD(encoder.parameters(), lr=0.01)
for _ in range(20):
    codes = encoder(torch.randn(10, 5))
    distances = torch.cdist(codes, codes)
    distances = distances.masked_fill(torch.eye(10, dtype=torch.bool), float("inf"))
    loss = distances.amin(1).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
