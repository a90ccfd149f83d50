# expect: sqrt backward sqrt-at-zero
import torch
from torch import nn


class RMS(nn.Module):
    def forward(self, x):
        scale = x.pow(2).mean(-1, keepdim=True).sqrt()  # born here
        return x / (scale + 1e-6)


torch.manual_seed(4)
model = nn.Sequential(nn.Linear(6, 6, bias=False), nn.Tanh(), RMS(), nn.Linear(6, 2))
optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
inputs = torch.randn(32, 6)
inputs[7] = 0
for _ in range(6):
    loss = nn.functional.cross_entropy(model(inputs), torch.arange(32) % 2)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
