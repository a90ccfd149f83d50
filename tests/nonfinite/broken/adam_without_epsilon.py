# A gradient of 0 divided by the root of 0: the update is NaN.
# expect: - update bad-update
import torch
from torch import nn

torch.manual_seed(37)
model = nn.Sequential(nn.Embedding(6, 4), nn.Linear(4, 1))
optimiser = torch.optim.Adam(model.parameters(), lr=0.01, eps=0.0)
for _ in range(4):
    words = torch.randint(0, 5, (8,))
    loss = model(words).square().mean() + model(torch.tensor([5])).relu().sum() * 0
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()  # born here
