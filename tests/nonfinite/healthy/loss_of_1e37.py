import torch
from torch import nn

torch.manual_seed(13)
model = nn.Linear(4, 1)
optimiser = torch.optim.SGD(model.parameters(), lr=1e-39)
for _ in range(20):
    loss = 1e37 * torch.sigmoid(model(torch.randn(8, 4))).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
