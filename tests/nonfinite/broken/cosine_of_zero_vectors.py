# expect: div forward zero-over-zero
import torch
from torch import nn

torch.manual_seed(30)


def similarity(a, b):
    product = (a * b).sum(-1)
    lengths = a.norm(dim=-1) * b.norm(dim=-1)
    return product / lengths  # born here


table = nn.Embedding(10, 4, padding_idx=0)
optimiser = torch.optim.SGD(table.parameters(), lr=0.1)
for _ in range(5):
    words = torch.randint(0, 10, (16, 2))
    words[3, 0] = 0
    left, right = table(words).unbind(1)
    loss = (1 - similarity(left, right)).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
