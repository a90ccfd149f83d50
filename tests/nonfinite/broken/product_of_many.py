# expect: prod|cumprod forward overflow-in-reduction|overflow-in-product
import torch
from torch import nn

torch.manual_seed(79)
odds = nn.Parameter(torch.full((200,), 1.1))
optimiser = torch.optim.SGD([odds], lr=1e-12)
for step in range(5):
    joint = torch.prod(odds * (1 + 0.2 * step))  # born here
    loss = joint / (1 + joint)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
