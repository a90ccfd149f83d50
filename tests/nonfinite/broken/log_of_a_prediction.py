# Regression on a log scale; some step's prediction is negative.
# expect: log forward log-of-negative
import torch
from torch import nn

torch.manual_seed(1)
model = nn.Linear(4, 1)
with torch.no_grad():
    model.bias.fill_(1.0)
optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
inputs = 3 * torch.randn(128, 4)
target = torch.log1p(inputs.square().sum(1, keepdim=True))
for step in range(30):
    batch = inputs[(step * 16) % 128 :][:16]
    prediction = model(batch)
    loss = (prediction.log() - target[(step * 16) % 128 :][:16]).square().mean()  # born here
    loss.backward()
    optimiser.step()
    optimiser.zero_grad()
