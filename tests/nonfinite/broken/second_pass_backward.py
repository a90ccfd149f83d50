# Two passes a step over one encoder; the second one's gradient is infinite.
# expect: pow|sqrt backward power-at-zero|sqrt-at-zero
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(48)
encoder, decoder = nn.Linear(5, 3), nn.Linear(3, 5)
for_all = torch.optim.SGD([*encoder.parameters(), *decoder.parameters()], lr=0.01)
for_encoder = torch.optim.SGD(encoder.parameters(), lr=0.01)
for step in range(8):
    x = torch.randn(6, 5)
    reconstruction = (decoder(encoder(x)) - x).square().mean()
    for_all.zero_grad()
    reconstruction.backward()
    for_all.step()
    code = F.dropout(encoder(x), 0.3 if step > 4 else 0.0)
    sparsity = code.abs().pow(0.5).mean()  # born here
    for_encoder.zero_grad()
    sparsity.backward()
    for_encoder.step()
