"""What kinds a record gives to the operations of a training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

import headwater
from headwater.records import Kind, Site
from headwater.runs.reader import Run


def observed(folder: Path, train: Callable[[], Any], model: nn.Module | None = None) -> Run:
    with headwater.watch(model, every=1, out=folder) as run:
        train()
    return run.record


def sites_of(
    folder: Path, loss: Callable[[], Tensor], model: nn.Module | None = None
) -> list[Site]:
    run = observed(folder, lambda: loss().backward(), model)
    assert run.info.unknown_operations == {}
    return [site for site in run.sites if site.kind != "parameter"]


def kinds_of(sites: list[Site]) -> dict[str, set[Kind]]:
    found: dict[str, set[Kind]] = {}
    for site in sites:
        found.setdefault(site.operation, set()).add(site.kind)
    return found
