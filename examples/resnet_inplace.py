"""A small residual CNN with batch norm, in-place ReLU and `x += shortcut`: it learns shapes."""

import torch
from torch import nn

torch.manual_seed(0)


class Block(nn.Module):
    def __init__(self, channels_in, channels_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False),
                nn.BatchNorm2d(channels_out),
            )

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        x += shortcut
        return self.relu(x)


class ResNet(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)
        )
        self.blocks = nn.Sequential(Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, classes)

    def forward(self, x):
        x = self.blocks(self.stem(x))
        return self.fc(torch.flatten(self.pool(x), 1))


def shapes(n):
    """Return noisy 16 x 16 pictures of a horizontal bar, a vertical bar, a square or a cross."""
    labels = torch.randint(4, (n,))
    images = 0.3 * torch.randn(n, 1, 16, 16)
    for i in range(n):
        row, column = torch.randint(4, 12, (2,)).tolist()
        if labels[i] in (0, 3):
            images[i, 0, row, column - 3 : column + 4] += 1
        if labels[i] in (1, 3):
            images[i, 0, row - 3 : row + 4, column] += 1
        if labels[i] == 2:
            images[i, 0, row - 2 : row + 2, column - 2 : column + 2] += 1
    return images, labels


images, labels = shapes(1024)
model = ResNet(classes=4)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)

for epoch in range(6):
    total = 0.0
    for batch in torch.randperm(len(images)).split(32):
        optimizer.zero_grad()
        loss = criterion(model(images[batch]), labels[batch])
        loss.backward()
        optimizer.step()
        total += loss.item()
    print(f"epoch {epoch + 1}  loss {total / 32:.4f}")

model.eval()
with torch.no_grad():
    test_images, test_labels = shapes(256)
    accuracy = (model(test_images).argmax(1) == test_labels).float().mean()
print(f"test accuracy {accuracy:.3f}")
