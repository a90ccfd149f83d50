# expect: sqrt backward sqrt-at-zero
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3, bias=False)

    def forward(self, x):
        hidden = self.linear(x)
        return hidden.square().sum(1).sqrt()  # born here


torch.manual_seed(55)
model = Net()
optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
compiled = torch.compile(model, backend="aot_eager")
for step in range(3):
    loss = compiled(torch.randn(8, 4) * (torch.arange(8)[:, None] >= step)).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
