# The ratio of two policies, as exp of a difference: an old probability of nearly 0.
# expect: exp forward exp-overflow
import torch
from torch import nn


def collect(policy, states):
    with torch.no_grad():
        logits = policy(states)
        return logits.log_softmax(-1)[:, 0]


def ppo_loss(policy, states, old):
    new = policy(states).log_softmax(-1)[:, 0]
    ratio = torch.exp(new - old)  # born here
    clipped = ratio.clamp(0.8, 1.2)
    return -torch.min(ratio * -1.0, clipped * -1.0).mean()


torch.manual_seed(109)
policy = nn.Linear(4, 2)
optimiser = torch.optim.Adam(policy.parameters(), lr=3e-4)
for iteration in range(4):
    states = torch.randn(16, 4) * 30.0**iteration
    old = collect(policy, states)
    with torch.no_grad():
        policy.weight.copy_(policy.weight.flip(0))
    for _epoch in range(2):
        loss = ppo_loss(policy, states, old)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(policy.parameters(), 0.5)
        optimiser.step()
