# expect: sum forward overflow-in-half|overflow-in-reduction
import torch
from torch import nn

torch.manual_seed(18)
model = nn.Linear(16, 16).half()
optimiser = torch.optim.SGD(model.parameters(), lr=1e-4)
inputs = torch.randn(512, 16).half()
for scale in (1, 2, 4, 8):
    out = model(inputs) * scale
    energy = out.square().sum()  # born here
    loss = energy / out.numel()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
