# torch.xlogy handles 0 log 0 in the forward pass only.
# expect: xlogy backward *
import torch
from torch import nn

torch.manual_seed(70)
model = nn.Linear(3, 4)
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    p = torch.softmax(300 * model(torch.randn(8, 3)), 1)
    loss = torch.xlogy(p, p).mean()  # born here
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
