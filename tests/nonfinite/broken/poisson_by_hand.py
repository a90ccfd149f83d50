# expect: exp forward exp-overflow|learning-rate-too-high
import torch
from torch import nn

torch.manual_seed(78)
model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))
optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
inputs = torch.randn(64, 4)
counts = torch.poisson(10 * torch.rand(64, 1))
for _ in range(20):
    log_rate = model(inputs)
    rate = log_rate.exp()  # born here
    loss = (rate - counts * log_rate).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
