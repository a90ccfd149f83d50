import torch
from torch import nn

torch.manual_seed(20)
model = nn.Linear(4, 1).double()
optimiser = torch.optim.SGD(model.parameters(), lr=1e-302)
for _ in range(20):
    loss = 1e300 * model(torch.randn(8, 4).double()).sigmoid().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
