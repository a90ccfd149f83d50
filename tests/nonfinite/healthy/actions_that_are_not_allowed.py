import torch
from torch import nn
from torch.distributions import Categorical

torch.manual_seed(18)
policy = nn.Linear(4, 5)
optimiser = torch.optim.SGD(policy.parameters(), lr=0.1)
for _ in range(20):
    logits = policy(torch.randn(8, 4))
    logits[:, 3:] = float("-inf")
    chosen = Categorical(logits=logits)
    actions = chosen.sample()
    loss = -(chosen.log_prob(actions) * torch.randn(8)).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
