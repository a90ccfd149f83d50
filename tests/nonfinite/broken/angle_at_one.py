# The angle between a vector and itself: acos has no derivative at 1.
# expect: acos backward domain
import torch
from torch import nn

torch.manual_seed(28)
rotation = nn.Parameter(torch.eye(2))
optimiser = torch.optim.SGD([rotation], lr=0.1)
directions = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
for _ in range(3):
    cosine = ((directions @ rotation) * directions).sum(1)
    angle = torch.acos(cosine)  # born here
    loss = angle.mean()
    loss.backward()
    optimiser.step()
    optimiser.zero_grad()
