# Rounding makes a cosine of 1.0000001.
# expect: acos|arccos forward domain
import torch
from torch import nn

torch.manual_seed(29)
model = nn.Linear(7, 7)
optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
inputs = torch.randn(200, 7)
for _ in range(3):
    one = model(inputs)
    unit = one / one.norm(dim=1, keepdim=True)
    cosines = 1.000001 * unit @ unit.T
    loss = torch.arccos(cosines).mean()  # born here
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
