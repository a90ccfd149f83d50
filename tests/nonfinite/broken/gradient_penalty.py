# The gradient with respect to the input is 0: its length has no derivative there.
# expect: sqrt backward sqrt-at-zero
import torch
from torch import nn

torch.manual_seed(47)
critic = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))
with torch.no_grad():
    critic[0].bias.fill_(-50.0)
optimiser = torch.optim.Adam(critic.parameters(), lr=1e-3)
for _ in range(4):
    mixed = torch.randn(8, 3, requires_grad=True)
    (slope,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
    length = slope.square().sum(1).sqrt()  # born here
    loss = critic(torch.randn(8, 3)).mean() + 10 * (length - 1).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
