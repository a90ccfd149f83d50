# torch's own logsumexp over rows of which some entries are minus infinity.
import torch
from torch import nn

torch.manual_seed(10)
model = nn.Linear(4, 6)
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(20):
    scores = model(torch.randn(8, 4))
    scores = scores.masked_fill(torch.arange(6) > 3, float("-inf"))
    loss = torch.logsumexp(scores, 1).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
