# The unused branch is kept from its dangerous input, too.
import torch

torch.manual_seed(3)
weight = torch.nn.Parameter(torch.randn(12))
optimiser = torch.optim.SGD([weight], lr=0.05)
for _ in range(30):
    positive = weight > 0
    safe = torch.where(positive, weight, 1.0)
    loss = torch.where(positive, safe.log(), 0.0).square().sum()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
