"""A GRU must remember the first of 100 inputs: with torch's default weights it forgets."""

import torch
from torch import nn

torch.manual_seed(0)

LENGTH = 100


class Remember(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.gru = nn.GRU(input_size=1, hidden_size=hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)

    def forward(self, x):
        outputs, _ = self.gru(x)
        return self.head(outputs[:, -1])


def sequences(n):
    """Return sequences whose first entry is +1 or -1, all others noise; the sign is the label."""
    x = 0.2 * torch.randn(n, LENGTH, 1)
    sign = torch.randint(2, (n, 1)).float()
    x[:, 0] = 2 * sign - 1
    return x, sign


model = Remember(hidden=16)
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.005)

for step in range(525):
    x, y = sequences(16)
    loss = criterion(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    if step % 75 == 74:
        print(f"step {step + 1:3d}  loss {loss.item():.4f}")

with torch.no_grad():
    x, y = sequences(256)
    print(f"accuracy {((model(x) > 0) == (y > 0.5)).float().mean():.3f}")
