import torch
from torch import nn

torch.manual_seed(4)
model = nn.Linear(3, 1)
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(20):
    x = torch.randn(8, 3).relu()
    inverse = torch.where(x > 0, 1 / x, torch.zeros(()))  # 1/0 in the data, not taken
    loss = model(inverse.clamp(max=3)).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
