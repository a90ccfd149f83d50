# The first scales overflow; that is how a scaler finds its own.
import torch
from torch import nn

torch.manual_seed(5)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20, growth_interval=5)
for _ in range(40):
    optimiser.zero_grad()
    with torch.autocast("cpu", dtype=torch.float16):
        out = model(torch.randn(16, 4))
    loss = (out.half() - 1).square().mean()
    scaler.scale(loss).backward()
    scaler.step(optimiser)
    scaler.update()
