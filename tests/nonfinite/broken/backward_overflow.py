# Sines bound the forward pass, while each layer multiplies the gradient by 40.
# expect: mul|sin backward overflow-in-product
import torch

torch.manual_seed(36)
phase = torch.nn.Parameter(torch.randn(3))
optimiser = torch.optim.SGD([phase], lr=1e-40)
start = torch.randn(5, 3)
for depth in (5, 10, 40):
    wave = start + phase
    for _ in range(depth):
        wave = torch.sin(40.0 * wave)  # born here
    loss = wave.mean()
    loss.backward()
    optimiser.step()
    optimiser.zero_grad()
