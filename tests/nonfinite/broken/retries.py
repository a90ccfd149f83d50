# expect: pow forward power-of-negative
import torch
from torch import nn

torch.manual_seed(112)
net, rate = nn.Linear(4, 1), 0.01


def attempt(x, y, exponent):
    error = net(x) - y
    return (error**exponent).mean()  # born here


for step in range(6):
    x, y = torch.randn(8, 4), torch.full((8, 1), -4.0)
    try:
        loss = attempt(x, y if step < 4 else -y, 1.5)
        loss.backward()
    except RuntimeError as error:
        print(error)
        continue
    with torch.no_grad():
        for parameter in net.parameters():
            parameter -= rate * parameter.grad
            parameter.grad = None
