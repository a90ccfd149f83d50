# What dropout puts to 0 has no logarithm; another draw of it may spare the step.
# expect: log forward log-of-zero
import torch
from torch import nn

torch.manual_seed(80)
model = nn.Sequential(nn.Linear(4, 6), nn.Softplus(), nn.Dropout(0.02))
optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
for _ in range(40):
    positive = model(torch.randn(2, 4))
    loss = torch.log(positive).mean()  # born here
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
