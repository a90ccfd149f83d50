"""Networks to be checked before they train, as by ``headwater check networks.py:deep_sigmoid``.

Each function returns a network as its author would draw it.
"""

import torch
from torch import Tensor, nn


class Deep(nn.Module):
    """Fifty layers of one activation, called as a function."""

    def __init__(self, function, width: int = 128, depth: int = 50) -> None:
        super().__init__()
        self.function = function
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = self.function(layer(x))
        return self.head(x)


def deep_sigmoid() -> Deep:
    """PyTorch's own initialisation: the gradient vanishes."""
    return Deep(torch.sigmoid)


def deep_relu() -> Deep:
    """He's initialisation: the gradient reaches the first layer."""
    network = Deep(torch.relu)
    for parameter in network.parameters():
        if parameter.dim() > 1:
            nn.init.kaiming_normal_(parameter, nonlinearity="relu")
        else:
            nn.init.zeros_(parameter)
    return network


def residual_cnn():
    """A small residual network with batch norm, with a batch and its loss."""

    class Block(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(channels)
            self.conv = nn.Conv2d(channels, channels, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.conv(torch.relu(self.norm(x)))

    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        *[Block(16) for _ in range(8)],
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )
    batch = torch.randn(32, 3, 16, 16), torch.randint(10, (32,))
    return network, batch, nn.CrossEntropyLoss()
