# The inner root is 0 and so is the outer one: the outer's backward is the first to be infinite.
# expect: sqrt backward sqrt-at-zero
import torch

torch.manual_seed(3)
weight = torch.nn.Parameter(torch.randn(6))
optimiser = torch.optim.SGD([weight], lr=0.1)
features = torch.rand(10, 6)
features[4] = 0
for _ in range(5):
    energy = (features * weight.abs()).sum(1)
    root = energy.sqrt()
    fourth_root = root.sqrt()  # born here
    loss = fourth_root.mean()
    loss.backward()
    optimiser.step()
    optimiser.zero_grad()
