"""A ReLU network with He initialisation on noisy spirals: it learns."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

arm = torch.randint(3, (3000,))
radius = torch.rand(3000)
angle = 4 * radius + arm * 2 * torch.pi / 3 + 0.15 * torch.randn(3000)
points = torch.stack([radius * angle.sin(), radius * angle.cos()], dim=1)
points = (points - points.mean(0)) / points.std(0)
loader = DataLoader(TensorDataset(points[:2500], arm[:2500]), batch_size=50, shuffle=True)

model = nn.Sequential(
    nn.Linear(2, 64),
    nn.ReLU(),
    nn.Linear(64, 64),
    nn.ReLU(),
    nn.Linear(64, 64),
    nn.ReLU(),
    nn.Linear(64, 64),
    nn.ReLU(),
    nn.Linear(64, 3),
)
for layer in model:
    if isinstance(layer, nn.Linear):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)

criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)

for epoch in range(30):
    total = 0.0
    for x, y in loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item()
    if epoch % 5 == 4:
        print(f"epoch {epoch + 1:2d}  loss {total / len(loader):.4f}")

with torch.no_grad():
    accuracy = (model(points[2500:]).argmax(1) == arm[2500:]).float().mean()
print(f"test accuracy {accuracy:.3f}")
