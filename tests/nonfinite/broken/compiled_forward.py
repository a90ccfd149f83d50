# expect: log forward log-of-zero
import torch
from torch import nn

torch.manual_seed(54)
model = nn.Linear(4, 3)
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(8, 4)


@torch.compile(backend="aot_eager")
def step_loss(x):
    p = torch.sigmoid(model(x))
    return torch.log(1 - p).mean()  # born here


for step in range(4):
    loss = step_loss(60.0 * step * inputs)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
