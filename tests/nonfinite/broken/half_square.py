# expect: mul|pow|square forward overflow-in-half
import torch
import torch.nn.functional as F

torch.manual_seed(21)
weight = torch.nn.Parameter((0.1 * torch.randn(4, 6)).half())
optimiser = torch.optim.SGD([weight], lr=1e-7)
inputs = torch.rand(10, 6).half() * 50
targets = torch.linspace(-400, 400, 10).half()[:, None]
for _ in range(3):
    error = F.linear(inputs, weight) - targets
    squared = error * error  # born here
    loss = squared.float().mean()
    loss.backward()
    optimiser.step()
    optimiser.zero_grad()
