# expect: linear|addmm|mm forward overflow-in-half
import torch
from torch import nn

torch.manual_seed(19)
first, second = nn.Linear(32, 32).half(), nn.Linear(32, 1).half()
optimiser = torch.optim.SGD([*first.parameters(), *second.parameters()], lr=1e-6)
with torch.no_grad():
    first.weight.mul_(100)
    second.weight.abs_().mul_(30)
inputs = torch.rand(8, 32).half()
for step in range(6):
    hidden = torch.relu(first(inputs * (1 + 10 * step)))
    out = second(hidden)  # born here
    loss = out.float().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
