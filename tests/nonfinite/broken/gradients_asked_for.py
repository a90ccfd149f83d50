# torch.autograd.grad, and an update by hand.
# expect: sqrt backward sqrt-at-zero
import torch
import torch.nn.functional as F

torch.manual_seed(76)
weights = [torch.randn(8, 4, requires_grad=True), torch.randn(1, 8, requires_grad=True)]
for step in range(4):
    x = torch.randn(16, 4)
    x[:step] = 0
    hidden = F.gelu(F.linear(x, weights[0]))
    root = hidden.square().sqrt()  # born here
    loss = F.linear(root, weights[1]).square().mean() + root.mean()
    gradients = torch.autograd.grad(loss, weights)
    with torch.no_grad():
        for weight, gradient in zip(weights, gradients, strict=True):
            weight -= 0.01 * gradient
