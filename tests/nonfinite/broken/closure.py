# expect: log forward log-of-negative
import torch
from torch import nn

torch.manual_seed(61)
rate = nn.Parameter(torch.tensor([3.0, 1.0]))
optimiser = torch.optim.SGD([rate], lr=5.0)
waits = torch.distributions.Exponential(torch.tensor([4.0, 0.5])).sample((50,))


def closure():
    optimiser.zero_grad()
    likelihood = torch.log(rate) - rate * waits  # born here
    loss = -likelihood.mean()
    loss.backward()
    return loss


for _ in range(6):
    optimiser.step(closure)
