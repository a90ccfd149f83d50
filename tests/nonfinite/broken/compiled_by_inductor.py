# expect: exp forward exp-overflow
# needs: compiler
import torch
from torch import nn

torch.manual_seed(56)
model = nn.Linear(4, 3)
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(8, 4)


@torch.compile
def step_loss(x):
    powers = torch.exp(model(x))  # born here
    return (powers / powers.sum(1, keepdim=True)).square().mean()


for step in range(4):
    loss = step_loss(200.0 * step * inputs)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
