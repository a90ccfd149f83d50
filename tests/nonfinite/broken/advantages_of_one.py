# expect: var forward variance-of-one
import torch
from torch import nn

torch.manual_seed(13)
policy = nn.Linear(4, 2)
optimiser = torch.optim.Adam(policy.parameters(), lr=0.01)


def update(states, actions, rewards):
    spread = torch.var(rewards)  # born here
    advantages = (rewards - rewards.mean()) / (spread + 1e-8)
    chosen = torch.log_softmax(policy(states), 1).gather(1, actions[:, None]).squeeze(1)
    loss = -(chosen * advantages).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


for length in (5, 9, 3, 1, 4):
    update(torch.randn(length, 4), torch.randint(2, (length,)), torch.randn(length))
