# expect: sqrt forward sqrt-of-negative
import itertools

import torch
from torch import nn

torch.manual_seed(103)
net = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2))
optimiser = torch.optim.RMSprop(net.parameters(), lr=0.05)
stream = iter(torch.randn(300, 8, 3))
counter = itertools.count()
while True:
    mean, raw = net(next(stream)).unbind(1)
    deviation = (raw + 1.0).sqrt()  # born here
    loss = ((mean - 1) / (deviation + 0.1)).square().mean() + deviation.mean()
    loss.backward()
    optimiser.step()
    optimiser.zero_grad()
    if next(counter) > 60:
        break
