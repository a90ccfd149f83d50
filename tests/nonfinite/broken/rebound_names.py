# Every line gives x a new value, and the step has no name for what it began with.
# expect: log forward log-of-zero
import torch
from torch import nn

torch.manual_seed(72)
layers = nn.ModuleList([nn.Linear(5, 5) for _ in range(3)])
optimiser = torch.optim.SGD(layers.parameters(), lr=0.1)
data = torch.randn(8, 5)
for _ in range(3):
    x = data
    for layer in layers:
        x = torch.relu(layer(x))
    x = x.log()  # born here
    x = x.clamp_min(-50) + x
    x = x.mean()
    optimiser.zero_grad()
    x.backward()
    optimiser.step()
