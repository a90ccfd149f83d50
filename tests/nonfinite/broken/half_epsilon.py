# In float16 1e-8 is 0, and guards nothing.
# expect: div forward zero-over-zero
import torch
from torch import nn

torch.manual_seed(23)
model = nn.Linear(5, 3).half()
optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
inputs = torch.randn(12, 5).half()
inputs[9] = 0
for _ in range(3):
    length = inputs.norm(dim=1, keepdim=True)
    unit = inputs / (length + 1e-8)  # born here
    loss = model(unit).float().square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
