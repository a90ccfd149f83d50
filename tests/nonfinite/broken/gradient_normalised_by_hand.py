# A gradient of length 0 is divided by its length, between the backward pass and the step.
# expect: -|div update|forward bad-update|division-by-zero|zero-over-zero
import torch
from torch import nn

torch.manual_seed(105)
net = nn.Linear(4, 2)
optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
for step in range(6):
    out = net(torch.randn(8, 4))
    loss = torch.relu(out - 100 * (step == 3)).mean()
    optimiser.zero_grad()
    loss.backward()
    for parameter in net.parameters():
        parameter.grad /= parameter.grad.norm()  # born here
    optimiser.step()
