# The line is in a module beside the script.
# expect: log * log-of-zero|division-by-tiny
# in: library/divergences.py
import torch
from library.divergences import kullback_leibler
from torch import nn

torch.manual_seed(59)
model = nn.Linear(3, 4)
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
inputs, target = torch.randn(8, 3), torch.softmax(torch.randn(8, 4), 1)
for step in range(8):
    loss = kullback_leibler(target, torch.softmax(4.0**step * model(inputs), 1))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
