# A histogram without counts is divided by its sum.
# expect: div forward zero-over-zero
import torch
from torch import nn

torch.manual_seed(5)
counts = torch.randint(0, 5, (40, 8)).float()
counts[23] = 0
model = nn.Linear(8, 1)
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    for begin in range(0, 40, 8):
        batch = counts[begin : begin + 8]
        shares = batch / batch.sum(1, keepdim=True)  # born here
        loss = model(shares).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
