# A mask, a sentinel and an unused branch, all healthy; the root is not.
# expect: sqrt backward sqrt-at-zero
import torch
from torch import nn

torch.manual_seed(63)
model = nn.Linear(4, 6)
optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
best = torch.tensor(float("inf"))
for _ in range(5):
    out = model(torch.randn(8, 4))
    attention = torch.softmax(out.masked_fill(out > 1, float("-inf")), 1)
    with torch.no_grad():
        gain = torch.where(out > 0, out, out / 0)
    spread = torch.relu(out).square().amin(1).sqrt()  # born here
    loss = attention.square().sum() + spread.mean() + 0 * gain[0].clamp(-1, 1).sum()
    best = torch.minimum(best, loss.detach())
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
