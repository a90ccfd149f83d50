"""Two noisy circles, one inside the other: a deep tanh network tells which a point lies on.

Run ``python -m headwater.demo.two_circles --init uniform`` and it does not learn; with
``--init xavier`` it does.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


def circles(n: int, *, noise: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return points ``[n, 2]`` scaled to [-1, 1] and their labels ``[n, 1]``, 1 for the inner.

    The same numbers as scikit-learn's ``make_circles``, without needing scikit-learn.

    Example:
        >>> points, labels = circles(1000, noise=0.1, seed=1)
        >>> points.shape, labels.sum().item(), points.min().item(), points.max().item()
        (torch.Size([1000, 2]), 500.0, -1.0, 1.0)
    """
    random = np.random.RandomState(seed)
    outer = np.linspace(0, 2 * np.pi, n // 2, endpoint=False)
    inner = np.linspace(0, 2 * np.pi, n - n // 2, endpoint=False)
    points = np.concatenate(
        [
            np.stack([np.cos(outer), np.sin(outer)], 1),
            0.8 * np.stack([np.cos(inner), np.sin(inner)], 1),
        ]
    )
    labels = np.repeat([0.0, 1.0], [len(outer), len(inner)])
    order = np.arange(n)
    random.shuffle(order)
    points = points[order] + random.normal(scale=noise, size=(n, 2))
    low, high = points.min(0), points.max(0)
    points = 2 * (points - low) / (high - low) - 1
    return torch.tensor(points, dtype=torch.float32), torch.tensor(
        labels[order], dtype=torch.float32
    )[:, None]


class Net(nn.Module):
    """Five hidden layers of five tanh units, and a logit."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden1 = nn.Linear(2, 5)
        self.hidden2 = nn.Linear(5, 5)
        self.hidden3 = nn.Linear(5, 5)
        self.hidden4 = nn.Linear(5, 5)
        self.hidden5 = nn.Linear(5, 5)
        self.output = nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map points ``[batch, 2]`` to logits ``[batch, 1]``."""
        x = torch.tanh(self.hidden1(x))
        x = torch.tanh(self.hidden2(x))
        x = torch.tanh(self.hidden3(x))
        x = torch.tanh(self.hidden4(x))
        x = torch.tanh(self.hidden5(x))
        logit: Tensor = self.output(x)
        return logit


def initialise(model: nn.Module, how: str) -> None:
    """Draw all weights from U[0, 1] or after Xavier; set the biases to zero."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            if how == "uniform":
                nn.init.uniform_(layer.weight, 0.0, 1.0)
            else:
                nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)


def accuracy(model: nn.Module, points: Tensor, labels: Tensor) -> float:
    """Return the share of points told rightly."""
    with torch.no_grad():
        return float(((model(points) > 0) == (labels > 0.5)).float().mean())


def main() -> None:
    """Train and print the loss now and then, and the accuracy at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--init", choices=["uniform", "xavier"], default="uniform")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    torch.set_num_threads(1)  # five units a layer: a second thread would only get in the way
    torch.manual_seed(args.seed)
    points, labels = circles(1000, noise=0.1, seed=1)
    train = TensorDataset(points[:500], labels[:500])
    loader = DataLoader(train, batch_size=32, shuffle=True)

    model = Net()
    initialise(model, args.init)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    criterion = nn.BCEWithLogitsLoss()

    for epoch in range(1, args.epochs + 1):
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
        if epoch % 25 == 0 or epoch == args.epochs:
            print(f"epoch {epoch:4d}  loss {total / len(train):.4f}", flush=True)

    print(
        f"train accuracy {accuracy(model, points[:500], labels[:500]):.3f}  "
        f"test accuracy {accuracy(model, points[500:], labels[500:]):.3f}"
    )


if __name__ == "__main__":
    main()
