# expect: div forward zero-over-zero
import torch
from torch import nn


class Normalised(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.direction = nn.Parameter(torch.zeros(outputs, inputs))
        self.scale = nn.Parameter(torch.ones(outputs, 1))

    def forward(self, x):
        unit = self.direction / self.direction.norm(dim=1, keepdim=True)  # born here
        return nn.functional.linear(x, self.scale * unit)


torch.manual_seed(68)
model = Normalised(4, 3)
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    loss = model(torch.randn(8, 4)).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
