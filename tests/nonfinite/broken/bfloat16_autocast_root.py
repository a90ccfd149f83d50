# expect: sqrt backward sqrt-at-zero
import torch
from torch import nn

torch.manual_seed(26)
model = nn.Sequential(nn.Linear(6, 12, bias=False), nn.Tanh(), nn.Linear(12, 4, bias=False))
optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
inputs = torch.randn(16, 6)
inputs[11] = 0
for _ in range(4):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        magnitude = (model(inputs) ** 2).amax(1).sqrt()  # born here
        loss = magnitude.float().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
