# expect: exp forward exp-overflow
import torch
from torch import nn

torch.manual_seed(11)
model = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1))
optimiser = torch.optim.SGD(model.parameters(), lr=1e-6)
inputs = torch.randn(16, 3)
for step in range(40):
    variance = torch.log(1 + torch.exp(10.0 * step * (model(inputs) + 1)))  # born here
    loss = (variance - 1).abs().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
