# 200 multiplications by a matrix of radius 2.
# expect: mm|matmul|linear|addmm forward overflow-in-product
import torch
from torch import nn


class Cell(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.recurrent = nn.Parameter(2.0 * torch.eye(width) + 0.1 * torch.randn(width, width))

    def forward(self, x, state):
        return x + state @ self.recurrent  # born here


torch.manual_seed(35)
cell, readout = Cell(6), nn.Linear(6, 1)
optimiser = torch.optim.SGD([*cell.parameters(), *readout.parameters()], lr=1e-3)
for length in (10, 20, 200):
    state = torch.zeros(4, 6)
    for x in torch.randn(length, 4, 6).unbind(0):
        state = cell(x, state)
    loss = torch.tanh(readout(state)).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
