"""Regression on raw targets of size 150: after a few steps the loss is NaN."""

import torch
from torch import nn

torch.manual_seed(1)

inputs = torch.randn(1000, 20)
weights = torch.zeros(20)
weights[:10] = 100 * torch.rand(10)
targets = inputs @ weights + 0.1 * torch.randn(1000)

model = nn.Sequential(nn.Linear(20, 25), nn.ReLU(), nn.Linear(25, 1))
nn.init.kaiming_uniform_(model[0].weight, nonlinearity="relu")
criterion = nn.MSELoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

for step in range(200):
    batch = torch.randint(500, (32,))
    loss = criterion(model(inputs[batch]).squeeze(1), targets[batch])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step < 12 or step % 50 == 49:
        print(f"step {step + 1:3d}  loss {loss.item():.4g}")
