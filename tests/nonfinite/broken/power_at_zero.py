# expect: pow backward power-at-zero|sqrt-at-zero
import torch
from torch import nn

torch.manual_seed(15)
image = torch.rand(2, 1, 6, 6)
image[0, 0, 2, 3] = 0
gain = nn.Parameter(torch.ones(1, 1, 1, 1))
optimiser = torch.optim.SGD([gain], lr=0.01)
for _ in range(3):
    corrected = (gain * image).pow(0.45)  # born here
    loss = (corrected - 0.5).square().mean()
    loss.backward()
    optimiser.step()
    optimiser.zero_grad()
