# clip_grad_norm_ with a limit of infinity only measures.
import torch
from torch import nn

torch.manual_seed(23)
model = nn.Linear(4, 1).bfloat16()
optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
for _ in range(20):
    loss = model(torch.randn(8, 4).bfloat16()).square().mean()
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), float("inf"))
    optimiser.step()
