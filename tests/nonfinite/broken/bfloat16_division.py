# expect: div forward division-by-zero
import torch
import torch.nn.functional as F

torch.manual_seed(27)
kernel = torch.nn.Parameter(torch.randn(2, 1, 3, 3).bfloat16())
optimiser = torch.optim.SGD([kernel], lr=0.01)
images = torch.rand(2, 1, 8, 8).bfloat16()
for _ in range(3):
    maps = F.relu(F.conv2d(images, kernel))
    contrast = (maps + 1) / maps  # born here
    loss = contrast.clamp(max=100).log().float().mean() + contrast.float().mean()
    loss.backward()
    optimiser.step()
    optimiser.zero_grad()
