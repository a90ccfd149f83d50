# expect: pow forward power-of-negative
import torch
from torch import nn

torch.manual_seed(14)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
with torch.no_grad():
    model[2].bias.fill_(1.5)
optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
inputs = torch.randn(64, 4)
for _ in range(50):
    gamma = model(inputs) ** 2.2  # born here
    loss = gamma.mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
