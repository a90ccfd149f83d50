# expect: exp forward exp-overflow
import torch
from torch import nn

torch.manual_seed(20)
model = nn.Linear(8, 4).half()
optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
inputs = torch.randn(16, 8).half()
for step in range(12):
    temperature = 2.0 * (step + 1)
    weights = torch.exp(model(inputs) * temperature)  # born here
    loss = (weights / (1 + weights)).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
