# expect: log forward log-of-negative
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x):
        hidden = self.linear(x)
        return torch.log(3 + hidden)  # born here


torch.manual_seed(51)
block, last = Block(), nn.Linear(6, 1)
optimiser = torch.optim.SGD([*block.parameters(), *last.parameters()], lr=0.1)
for step in range(6):
    hidden = checkpoint(block, (1 + 2 * step) * torch.randn(8, 6), use_reentrant=False)
    loss = last(hidden).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
