# One reading of one sensor is missing.
# expect: - data bad-input
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(41)
readings = torch.randn(96, 6)
readings[70, 4] = float("nan")
data = TensorDataset(readings, torch.randn(96, 1))
model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))
optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
for x, y in DataLoader(data, batch_size=8):  # or here
    loss = nn.functional.mse_loss(model(x), y)  # born here
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
