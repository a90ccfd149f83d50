# The schedule divides 0 by 0 once its steps are over.
# expect: - update bad-update
import numpy as np
import torch
from torch import nn

torch.manual_seed(38)
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(16, 4)
left = np.array([4.0, 3.0, 2.0, 1.0, 0.0, 0.0, 0.0])
for remaining in left:
    loss = model(inputs).square().mean()
    optimiser.zero_grad()
    loss.backward()
    with np.errstate(invalid="ignore"):
        optimiser.param_groups[0]["lr"] = float(0.1 * remaining / remaining)
    optimiser.step()  # born here
