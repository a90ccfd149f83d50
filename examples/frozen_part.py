"""Two parts that never learn: a branch cut off by detach(), and a layer the optimizer lacks."""

import torch
from torch import nn

torch.manual_seed(0)


class TwoBranches(nn.Module):
    def __init__(self):
        super().__init__()
        self.left = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32))
        self.right = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32))
        self.middle = nn.Linear(64, 32)
        self.head = nn.Linear(32, 1)

    def forward(self, x):
        left = self.left(x)
        right = self.right(x).detach()
        x = torch.cat([left, right], dim=1)
        return self.head(torch.relu(self.middle(x)))


inputs = torch.randn(2000, 10)
targets = inputs[:, :1] * inputs[:, 1:2] + inputs[:, 2:3]

model = TwoBranches()
criterion = nn.MSELoss()
learned = [*model.left.parameters(), *model.right.parameters(), *model.head.parameters()]
optimizer = torch.optim.Adam(learned, lr=2e-3)

for epoch in range(25):
    total = 0.0
    for batch in torch.randperm(2000).split(50):
        optimizer.zero_grad()
        loss = criterion(model(inputs[batch]), targets[batch])
        loss.backward()
        optimizer.step()
        total += loss.item()
    if epoch % 5 == 4:
        print(f"epoch {epoch + 1:2d}  loss {total / 40:.4f}")
