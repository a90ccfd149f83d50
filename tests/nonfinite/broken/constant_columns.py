# A standardisation as a module: two columns are constant, so its buffer `scale` is infinite there.
# expect: - data bad-buffer
import torch
from torch import nn


class Standardise(nn.Module):
    def __init__(self, x):
        super().__init__()
        self.register_buffer("centre", x.mean(0))
        self.register_buffer("scale", 1 / x.std(0))

    def forward(self, x):
        return (x - self.centre) * self.scale  # born here


torch.manual_seed(112)
features = torch.randn(64, 6)
features[:, 1] = 0.0
features[:, 4] = 3.0
net = nn.Sequential(Standardise(features), nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
optimiser = torch.optim.SGD(net.parameters(), lr=0.05)
for _ in range(4):
    picked = torch.randint(64, (16,))
    loss = net(features[picked]).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
