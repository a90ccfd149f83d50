# A second-order step by hand: the gradient over a curvature that is 0.
# expect: -|div update|forward bad-update|zero-over-zero
import torch

torch.manual_seed(39)
weight = torch.randn(4, requires_grad=True)
inputs, targets = torch.randn(12, 4), torch.randn(12)
inputs[:, 2] = 0
for _ in range(4):
    loss = (inputs @ weight - targets).square().mean()
    loss.backward()
    with torch.no_grad():
        curvature = 2 * inputs.square().mean(0)
        weight -= weight.grad / curvature  # born here
        weight.grad = None
