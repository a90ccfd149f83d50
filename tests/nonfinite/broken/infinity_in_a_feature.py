# numpy divided by 0 before the training began.
# expect: - data bad-input
import numpy as np
import torch
from torch import nn

torch.manual_seed(43)
rng = np.random.default_rng(0)
amounts, visits = rng.random(50), rng.integers(0, 4, 50)
visits[7] = 0
with np.errstate(divide="ignore"):
    table = np.stack([amounts, amounts / visits], axis=1)
features = torch.tensor(table, dtype=torch.float32)  # or here
model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
for rows in torch.arange(50).split(25):
    loss = model(features[rows]).square().mean()  # born here
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
