# The distance of a point from itself: its root has no derivative at 0.
# expect: sqrt backward sqrt-at-zero
import torch
from torch import nn

torch.manual_seed(2)
encoder = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 2))
optimiser = torch.optim.Adam(encoder.parameters())
points = torch.randn(12, 5)
for _ in range(8):
    codes = encoder(points)
    squares = (codes[:, None] - codes[None]).pow(2).sum(2)
    distances = torch.sqrt(squares)  # born here
    loss = (distances - 1).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
