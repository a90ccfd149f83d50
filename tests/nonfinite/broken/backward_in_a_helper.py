# The loss is a parameter of the function that calls backward.
# expect: sqrt forward sqrt-of-negative
import torch
from library.divergences import backward
from torch import nn

torch.manual_seed(75)
model = nn.Linear(6, 2)
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(6):
    out = model(torch.randn(16, 6))
    variance = (out.square().mean(0) - out.mean(0).square()) - 0.1
    loss = variance.sqrt().sum()  # born here
    optimiser.zero_grad()
    backward(loss, scale=0.5)
    optimiser.step()
