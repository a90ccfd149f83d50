# expect: div backward division-by-zero|zero-over-zero
import torch
from torch import nn


class Clipped(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(-1, 1)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        inside = (x.abs() < 1).float()
        return grad * x.clamp(-1, 1) / (inside * x)  # born here


torch.manual_seed(50)
model = nn.Linear(4, 2)
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.randn(32, 4)
for step in range(5):
    loss = Clipped.apply((0.1 + step) * model(inputs)).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
