"""The devices that the record names."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

import headwater


def _train() -> None:
    model = nn.Linear(3, 1)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.ones(2, 3)).sum().backward()
    optimiser.step()


def test_a_network_that_is_gone_by_the_end_still_has_its_device_named(tmp_path: Path) -> None:
    with headwater.watch(out=tmp_path / "run") as run:
        _train()
    assert run.record.info.device == ("cpu",)
