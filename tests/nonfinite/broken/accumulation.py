# Four small batches a step; the third one breaks.
# expect: log forward log-of-negative
import torch
from torch import nn

torch.manual_seed(74)
model = nn.Linear(3, 1)
optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
for step in range(3):
    optimiser.zero_grad()
    for micro in range(4):
        x = torch.rand(8, 3)
        shift = -9.0 if (step, micro) == (2, 2) else 5.0
        loss = torch.log(model(x) + shift).mean() / 4  # born here
        loss.backward()
    optimiser.step()
