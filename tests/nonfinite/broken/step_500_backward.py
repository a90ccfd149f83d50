# expect: sqrt backward sqrt-at-zero
import torch
from torch import nn

torch.manual_seed(58)
model = nn.Linear(3, 2)
optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)
for step in range(510):
    x = torch.randn(4, 3)
    other = x if step == 500 else torch.randn(4, 3)
    squared = (model(x) - model(other)).square().sum(1)
    distance = torch.sqrt(squared)  # born here
    loss = torch.relu(1 - distance).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
