"""An experiment of milliseconds, whose measuring leaves a trace and can be made to fail."""

from __future__ import annotations

import errno
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headwater.lab.claims import mean
from headwater.lab.experiment import Experiment
from headwater.lab.pictures import Style
from headwater.lab.rows import Array, Rows, Tables


@dataclass(frozen=True, kw_only=True)
class Settings:
    scale: float = 1.0
    epochs: int = 3
    log: str = ""
    fail_at: int = -1
    die_once: str = ""


def measure(settings: Settings, seeds: Array) -> Tables:
    if settings.log:
        with Path(settings.log).open("a") as file:
            file.write(f"{seeds[0]}-{seeds[-1]}\n")
    if settings.fail_at in seeds:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    mark = Path(settings.die_once) if settings.die_once else None
    if mark is not None and 4 in seeds and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    draws = [np.random.default_rng(int(seed)).normal() for seed in seeds]
    return {"members": Rows.of(seed=seeds, arm="toy", x=settings.scale * np.array(draws))}


def draw(tables: Tables, figure: Any, style: Style) -> None:
    axes = figure.subplots()
    axes.plot(tables["members"]["seed"], tables["members"]["x"], color=style.palette[0])


TOY = Experiment(
    name="toy",
    claim="Normal numbers have mean zero.",
    settings=Settings(),
    measure=measure,
    assertions=(mean("mean", "x", -0.5, 0.5),),
    draw=draw,
    found=lambda tables: f"The mean is {tables['members']['x'].mean():.2f}.",
    literature="Gauss (1809).",
    fragile="Nothing.",
    seeds=12,
    block=4,
    size=(3.0, 2.0),
)
