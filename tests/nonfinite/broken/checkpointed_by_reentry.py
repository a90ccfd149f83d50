# expect: sqrt backward sqrt-at-zero
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3, bias=False)

    def forward(self, x):
        x = self.linear(nn.functional.dropout(x, 0.5))
        return x.square().sqrt() + x  # born here


torch.manual_seed(53)
enter, tower = nn.Linear(3, 3), Tower()
optimiser = torch.optim.SGD([*enter.parameters(), *tower.parameters()], lr=0.01)
for _ in range(4):
    hidden = enter(torch.randn(32, 3))
    loss = checkpoint(tower, hidden, use_reentrant=True).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
