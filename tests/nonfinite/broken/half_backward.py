# Forward all is small; the gradient of a sum of squares times 4096 leaves float16.
# expect: mul|pow|square|linear|addmm|t|mm backward overflow-in-half
import torch
from torch import nn

torch.manual_seed(24)
model = nn.Sequential(nn.Linear(8, 8), nn.Tanh()).half()
optimiser = torch.optim.SGD(model.parameters(), lr=1e-4)
inputs = torch.randn(8, 8).half()
for _ in range(3):
    out = model(inputs)
    far = out * 200.0  # born here
    loss = far.float().square().sum()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
