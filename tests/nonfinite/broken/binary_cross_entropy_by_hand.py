# expect: log forward log-of-zero
import torch
from torch import nn

torch.manual_seed(34)
model = nn.Linear(2, 1)
optimiser = torch.optim.SGD(model.parameters(), lr=200.0)
inputs = torch.randn(64, 2)
labels = (inputs.sum(1, keepdim=True) > 0).float()
labels[0] = 1 - labels[0]


def bce(p, y):
    return -(
        y * (p + 1e-12).log() + (1 - y) * (1 - p).log()  # born here
    ).mean()


for _ in range(40):
    loss = bce(model(inputs).sigmoid(), labels)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
