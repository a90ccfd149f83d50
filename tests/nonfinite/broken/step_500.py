# All is well for 500 steps; then the annealed temperature is too small.
# expect: exp forward exp-overflow
import torch
from torch import nn

torch.manual_seed(57)
model = nn.Linear(2, 1)
optimiser = torch.optim.SGD(model.parameters(), lr=1e-4)
inputs = torch.randn(8, 2)
for step in range(520):
    temperature = 1.0 if step < 500 else 1e-3
    energy = model(inputs).abs() / temperature
    loss = torch.exp(energy).log1p().mean()  # born here
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
