# expect: div|reciprocal forward division-by-zero
import torch
from torch import nn

torch.manual_seed(73)
trunk, heads = nn.Linear(4, 8), nn.ModuleDict({k: nn.Linear(8, 1) for k in ("a", "b", "c")})
optimiser = torch.optim.Adam([*trunk.parameters(), *heads.parameters()])
seen = {"a": 3, "b": 0, "c": 5}
for _ in range(3):
    hidden = torch.relu(trunk(torch.randn(8, 4)))
    losses = {name: head(hidden).square().mean() for name, head in heads.items()}
    weights = {name: 1 / torch.tensor(float(count)) for name, count in seen.items()}  # born here
    total = sum(weights[name] * loss for name, loss in losses.items())
    optimiser.zero_grad()
    total.backward()
    optimiser.step()
