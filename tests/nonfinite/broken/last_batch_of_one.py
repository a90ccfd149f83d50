# 33 rows by 8: the last batch has one row, and its unbiased deviation is 0/0.
# expect: std forward variance-of-one
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(12)
data = TensorDataset(torch.randn(33, 4), torch.randn(33, 1))
model = nn.Linear(4, 1)
optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
for x, y in DataLoader(data, batch_size=8):
    x = (x - x.mean(0)) / (x.std(0) + 1e-5)  # born here
    loss = nn.functional.mse_loss(model(x), y)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
