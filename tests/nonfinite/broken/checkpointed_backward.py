# The forward runs again within the backward pass, and all is finite until the root's derivative.
# expect: sqrt backward sqrt-at-zero
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def block(x):
    energy = x.square().sum(1)
    return energy.sqrt()  # born here


torch.manual_seed(52)
first = nn.Linear(4, 2, bias=False)
optimiser = torch.optim.SGD(first.parameters(), lr=0.01)
for _ in range(4):
    inputs = torch.randn(32, 4).round()
    loss = checkpoint(block, first(inputs), use_reentrant=False).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
