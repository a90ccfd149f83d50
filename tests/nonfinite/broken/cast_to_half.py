# expect: to forward overflow-in-half
import torch
from torch import nn

torch.manual_seed(22)
backbone, head = nn.Linear(4, 8), nn.Linear(8, 1).half()
optimiser = torch.optim.SGD([*backbone.parameters(), *head.parameters()], lr=0.01)
inputs = torch.randn(16, 4)
inputs[5, 2] = 2e6  # a timestamp among the features
for _ in range(3):
    features = backbone(inputs)
    small = features.half()  # born here
    loss = torch.tanh(head(small)).float().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
