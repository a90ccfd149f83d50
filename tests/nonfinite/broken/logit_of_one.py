# expect: logit|log|div forward domain|log-of-zero|division-by-zero
import torch
from torch import nn

torch.manual_seed(69)
model = nn.Linear(3, 1)
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(6):
    p = torch.sigmoid(5.0**step * model(torch.randn(16, 3)))
    evidence = torch.logit(p)  # born here
    loss = evidence.abs().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
