# 0 log 0 is 0 on paper.
# expect: log forward log-of-zero
import torch
from torch import nn

torch.manual_seed(33)


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 3)

    def entropy(self, states, sharpness):
        p = torch.softmax(sharpness * self.net(states), dim=-1)
        return -(p * p.log()).sum(-1).mean()  # born here


policy = Policy()
optimiser = torch.optim.SGD(policy.parameters(), lr=0.01)
states = torch.randn(16, 4)
for step in range(30):
    loss = -policy.entropy(states, sharpness=1.3**step)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
