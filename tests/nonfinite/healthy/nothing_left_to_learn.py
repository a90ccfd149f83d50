# A hinge that is exactly 0: so are all gradients.
import torch
from torch import nn

torch.manual_seed(22)
model = nn.Linear(2, 1)
optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
inputs = torch.tensor([[3.0, 0.0], [-3.0, 0.0]])
labels = torch.tensor([[1.0], [-1.0]])
for _ in range(60):
    loss = torch.relu(1 - labels * model(inputs)).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
