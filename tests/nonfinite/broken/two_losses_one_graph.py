# Two backward passes through one graph; the second one breaks.
# expect: acos backward domain
import torch
from torch import nn

torch.manual_seed(111)
net = nn.Linear(3, 1, bias=False)
optimiser = torch.optim.SGD(net.parameters(), lr=0.01)
for step in range(5):
    x = torch.randn(6, 3)
    out = net(x)
    direction = nn.functional.normalize(out if step == 3 else torch.cat([out, x], 1), dim=1)
    length = out.norm(dim=1).mean()
    cosine = direction.sum(1) * 0.5 if step < 3 else direction.sum(1)
    angle = torch.acos(cosine)  # born here
    optimiser.zero_grad()
    length.backward(retain_graph=True)
    (angle + cosine).mean().backward()
    optimiser.step()
