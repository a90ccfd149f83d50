# Shifted by the row's largest entry, which is minus infinity where the whole row is masked.
# expect: sub forward inf-minus-inf
import torch
from torch import nn

torch.manual_seed(8)
model = nn.Linear(6, 5)
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(9, 6)
mask = torch.rand(9, 5) < 0.4
mask[3] = True
for _ in range(4):
    scores = model(inputs).masked_fill(mask, float("-inf"))
    largest = scores.max(dim=1, keepdim=True).values
    shifted = scores - largest  # born here
    total = shifted.exp().sum(1).log() + largest.squeeze(1)
    loss = total.mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
