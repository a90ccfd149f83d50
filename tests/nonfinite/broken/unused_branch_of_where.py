# The branch that torch.where does not take still has a backward: 0 times infinity.
# expect: div|reciprocal|mul * division-by-zero|zero-times-inf
import torch
from torch import nn

torch.manual_seed(6)
model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.3))
optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
inputs = torch.randn(16, 3)
for _ in range(5):
    out = model(inputs)
    inverse = 1 / out  # born here
    safe = torch.where(out != 0, inverse, torch.zeros(()))
    loss = safe.clamp(-10, 10).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
