# Each gradient is infinite whatever the scale: the scaler skips for ever.
# expect: sqrt backward sqrt-at-zero
import torch
from torch import nn

torch.manual_seed(45)
model = nn.Linear(4, 2)
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
inputs = torch.randn(8, 4)
for _ in range(30):
    optimiser.zero_grad()
    out = model(inputs)
    gaps = (out[:, None] - out).square().sum(-1)
    loss = gaps.sqrt().mean()  # born here
    scaler.scale(loss).backward()
    scaler.step(optimiser)
    scaler.update()
