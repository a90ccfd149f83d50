import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(1)
qkv = nn.Linear(8, 24)
optimiser = torch.optim.SGD(qkv.parameters(), lr=0.1)
mask = torch.zeros(5, 5).masked_fill(torch.ones(5, 5).triu(1).bool(), float("-inf"))
for _ in range(20):
    q, k, v = qkv(torch.randn(2, 5, 8)).chunk(3, -1)
    loss = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
