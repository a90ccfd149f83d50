# expect: div forward zero-over-zero
import torch
from torch import nn


class Norm(nn.Module):
    def forward(self, x):
        centred = x - x.mean(-1, keepdim=True)
        deviation = x.std(-1, keepdim=True)
        return centred / deviation  # born here


torch.manual_seed(31)
model = nn.Sequential(nn.Linear(6, 6, bias=False), Norm(), nn.Linear(6, 2))
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(5):
    inputs = torch.randn(8, 6)
    if step == 3:
        inputs[2] = 0
    loss = model(inputs).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
