# expect: mean forward *
import torch
from torch import nn

torch.manual_seed(67)
model = nn.Linear(4, 1)
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(8):
    error = (model(torch.randn(16, 4)) - 1).abs().squeeze(1)
    outliers = error[error > 0.3 * step]
    loss = outliers.mean()  # born here
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
