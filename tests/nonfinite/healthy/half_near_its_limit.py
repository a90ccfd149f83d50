# Up to 60,000 in float16, whose largest number is 65,504.
import torch
from torch import nn

torch.manual_seed(12)
model = nn.Linear(4, 4).half()
optimiser = torch.optim.SGD(model.parameters(), lr=1e-6)
inputs = torch.rand(8, 4).half()
for _ in range(20):
    out = torch.tanh(model(inputs)) * 60000.0
    loss = (out * 1e-5).float().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
