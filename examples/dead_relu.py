"""ReLU layers whose biases start at -2: almost every unit is dead, and dead units stay dead."""

import torch
from torch import nn

torch.manual_seed(0)

inputs = torch.rand(2000, 8) * 2 - 1
targets = (inputs.pow(2).sum(1, keepdim=True) > 8 / 3).float()

model = nn.Sequential(
    nn.Linear(8, 32),
    nn.ReLU(),
    nn.Linear(32, 32),
    nn.ReLU(),
    nn.Linear(32, 32),
    nn.ReLU(),
    nn.Linear(32, 1),
)
for layer in model[:-1]:
    if isinstance(layer, nn.Linear):
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
        nn.init.constant_(layer.bias, -2.0)

criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

for epoch in range(40):
    total = 0.0
    for batch in torch.randperm(2000).split(50):
        optimizer.zero_grad()
        loss = criterion(model(inputs[batch]), targets[batch])
        loss.backward()
        optimizer.step()
        total += loss.item()
    if epoch % 10 == 9:
        print(f"epoch {epoch + 1:2d}  loss {total / 40:.4f}")
