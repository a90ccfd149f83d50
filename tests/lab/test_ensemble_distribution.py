"""Over many seeds an ensemble ends where independent plain trainings end."""

from __future__ import annotations

import numpy as np
import torch
from plans import rings
from scipy.stats import ks_2samp
from torch import nn

from headwater.lab.ensemble import Initialiser, Members, Network, Training, sgd, train, uniform

SEEDS, EPOCHS = 40, 25
WIDTHS = (2, 5, 5, 1)


def independent(seed: int) -> float:
    """Train with torch's own random numbers, weights and batches; return the final loss."""
    data = rings()
    x, y = torch.tensor(data.x).float(), torch.tensor(data.y).float()
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    model = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 1))
    for layer in model[::2]:
        nn.init.uniform_(layer.weight, -1.0, 1.0)  # type: ignore[arg-type]
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    criterion = nn.BCEWithLogitsLoss()
    for _ in range(EPOCHS):
        order = torch.randperm(len(x))
        for start in range(0, len(x), 16):
            at = order[start : start + 16]
            optimizer.zero_grad()
            criterion(model(x[at]), y[at]).backward()
            optimizer.step()
    with torch.no_grad():
        return criterion(model(x), y).item()


def test_final_losses_are_distributed_as_those_of_independent_trainings() -> None:
    plain = np.array([independent(seed) for seed in range(SEEDS)])
    drawn = Members(seeds=range(20 * SEEDS), initialiser=Initialiser(hidden=uniform(-1.0, 1.0)))
    schedule = Training(epochs=EPOCHS, optimiser=sgd(0.1, momentum=0.9), batch_size=16)
    found = train(Network(widths=WIDTHS), drawn, rings(), schedule).losses.train_loss[:, -1]
    assert ks_2samp(plain, found).pvalue > 0.01
    # The test can tell: half the learning rate gives another distribution.
    slower = Training(epochs=EPOCHS, optimiser=sgd(0.05, momentum=0.9), batch_size=16)
    other = train(Network(widths=WIDTHS), drawn, rings(), slower).losses.train_loss[:, -1]
    assert ks_2samp(plain, other).pvalue < 1e-4
