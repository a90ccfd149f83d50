# torch's norm, cdist, std, cosine similarity and atan2 have a derivative of 0 at 0.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(15)
model = nn.Linear(4, 4, bias=False)
optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
inputs = torch.randn(6, 4)
inputs[2:4] = 0
for _ in range(10):
    out = model(inputs)
    loss = out.norm(dim=1).mean() + torch.cdist(out, out).mean() + out.std(1).mean()
    loss = loss + F.cosine_similarity(out, out.flip(0)).mean() + torch.atan2(out, out).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
