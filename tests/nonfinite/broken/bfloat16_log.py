# In bfloat16 a probability of 0.999 is 1.
# expect: log forward log-of-zero
import torch
from torch import nn

torch.manual_seed(25)
model = nn.Linear(6, 1).to(torch.bfloat16)
optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
inputs = torch.randn(32, 6).to(torch.bfloat16)
labels = (inputs[:, :1] > 0).to(torch.bfloat16)
for _ in range(60):
    p = torch.sigmoid(8 * model(inputs))
    positive = labels * torch.log(p + 1e-3)
    negative = (1 - labels) * torch.log(1 - p)  # born here
    loss = -(positive + negative).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
