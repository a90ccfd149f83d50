"""A network under torch.compile: it learns, and its inside is one compiled region."""

import torch
from torch import nn

torch.manual_seed(0)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(10, 64)
        self.hidden = nn.ModuleList(nn.Linear(64, 64) for _ in range(3))
        self.head = nn.Linear(64, 1)

    def forward(self, x):
        x = torch.relu(self.embed(x))
        for layer in self.hidden:
            x = x + torch.relu(layer(x))
        return self.head(x)


inputs = torch.randn(2048, 10)
targets = torch.sin(inputs[:, :1] * 2) + inputs[:, 1:2] * inputs[:, 2:3]

model = Net()
compiled = torch.compile(model)
criterion = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

for step in range(1000):
    batch = torch.randint(2048, (64,))
    loss = criterion(compiled(inputs[batch]), targets[batch])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 200 == 199:
        print(f"step {step + 1:4d}  loss {loss.item():.4f}")
