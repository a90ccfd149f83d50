import torch
from torch import nn

torch.manual_seed(6)
model = nn.Linear(4, 3)
optimiser = torch.optim.SGD(model.parameters(), lr=1e-6)
inputs, labels = 1e4 * torch.randn(32, 4), torch.randint(3, (32,))
for _ in range(30):
    loss = nn.functional.cross_entropy(1e3 * model(inputs), labels)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
