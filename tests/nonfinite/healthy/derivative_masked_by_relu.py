# The root's derivative at 0 is infinite, and ReLU's backward puts a 0 in its place.
import torch
from torch import nn

torch.manual_seed(25)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
for _ in range(20):
    loss = model(torch.randn(16, 4)).sqrt().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
