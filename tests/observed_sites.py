"""What sites a record gives to the operations of a training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

import headwater
from headwater.records import Site
from headwater.runs.ledger import SiteSummary
from headwater.runs.reader import Run


def watched(folder: Path, train: Callable[[], Any], model: nn.Module | None = None) -> Run:
    with headwater.watch(model, every=1, out=folder) as run:
        train()
    return run.record


def sites(run: Run, operation: str) -> list[Site]:
    return [site for site in run.sites if site.operation == operation]


def summaries(run: Run, operation: str) -> list[SiteSummary]:
    found = run.ledger().by_site().values()
    return [summary for summary in found if summary.site.operation == operation]
