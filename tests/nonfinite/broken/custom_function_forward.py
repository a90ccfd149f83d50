# expect: log forward log-of-negative
import torch
from torch import nn


class SignedLog(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        size = torch.log(x)  # born here
        return torch.sign(x) * size

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad / x.abs().clamp_min(1e-3)


torch.manual_seed(49)
model = nn.Linear(4, 4)
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
inputs = torch.rand(8, 4)
for step in range(6):
    loss = SignedLog.apply(model(inputs) + 2 - 0.5 * step).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
