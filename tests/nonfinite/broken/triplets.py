# expect: sqrt backward sqrt-at-zero
import torch
from torch import nn

torch.manual_seed(108)


class Triplet(nn.Module):
    def __init__(self, margin):
        super().__init__()
        self.margin = margin

    @staticmethod
    def distance(a, b):
        return (a - b).square().sum(-1).sqrt()  # born here

    def forward(self, anchor, positive, negative):
        near, far = self.distance(anchor, positive), self.distance(anchor, negative)
        return torch.relu(near - far + self.margin).mean()


encoder, criterion = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)), Triplet(0.5)
optimiser = torch.optim.SGD(encoder.parameters(), lr=0.1)
data = torch.randn(50, 4)
for _ in range(10):
    picks = torch.randint(50, (3, 12))
    picks[1, 5] = picks[0, 5]
    loss = criterion(*(encoder(data[rows]) for rows in picks))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
