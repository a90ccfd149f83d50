# The causal mask is healthy; the sentence of padding alone is not.
# expect: softmax forward masked-row
import torch
from torch import nn


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)

    def forward(self, x, padding):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        scores = q @ k.transpose(1, 2) / x.shape[-1] ** 0.5
        causal = torch.full(scores.shape[-2:], float("-inf")).triu(1)
        scores = (scores + causal).masked_fill(padding[:, None], float("-inf"))
        weights = torch.softmax(scores, dim=-1)  # born here
        return weights @ v


torch.manual_seed(16)
model = Attention(8)
optimiser = torch.optim.Adam(model.parameters())
for step in range(6):
    padding = torch.zeros(3, 4, dtype=torch.bool)
    padding[1, 2:] = True
    if step == 4:
        padding[2] = True
    loss = model(torch.randn(3, 4, 8), padding).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
