# Plain divergence: what overflows first is the square of the loss.
# expect: pow|linear forward|update overflow-in-product|bad-update|learning-rate-too-high
import torch
from torch import nn

torch.manual_seed(40)
model = nn.Linear(8, 1)
optimiser = torch.optim.SGD(model.parameters(), lr=30.0)
inputs, targets = torch.randn(64, 8), torch.randn(64, 1)
for _ in range(40):
    error = model(inputs) - targets
    loss = error.square().mean()  # born here
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
