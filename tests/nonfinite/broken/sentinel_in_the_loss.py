# Healthy infinities on the way to a minimum; then a division of a count that is 0.
# expect: div forward zero-over-zero
import torch
from torch import nn

torch.manual_seed(64)
encoder = nn.Linear(5, 3)
optimiser = torch.optim.SGD(encoder.parameters(), lr=0.01)
for step in range(6):
    codes = encoder(torch.randn(10, 5))
    distances = torch.cdist(codes, codes) + torch.diag(torch.full((10,), float("inf")))
    nearest = distances.min(1).values
    hard = (nearest < (0.3 if step < 4 else -1.0)).float()
    loss = (hard * nearest).sum() / hard.sum()  # born here
    loss = loss + nearest.mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
