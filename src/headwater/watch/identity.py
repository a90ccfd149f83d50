"""What ran: everything of ``run.json`` that is not a measurement, and its assembly."""

from __future__ import annotations

import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

import headwater
from headwater.records import Expression, OptimiserInfo
from headwater.runs.info import RunInfo
from headwater.watch.cadence import Cadence
from headwater.watch.faults import Faults
from headwater.watch.forms import Form
from headwater.watch.names import Names
from headwater.watch.options import Options
from headwater.watch.sites import SiteTable

_REFRESH_S = 5.0


class Identity:
    """Collects what ran, and how the observation fared."""

    def __init__(self, options: Options, command: Sequence[str], script: str | None) -> None:
        self.optimisers: list[OptimiserInfo] = []
        self.notes: list[str] = []
        self._options = options
        self._command = tuple(command)
        self._script = str(Path(script).absolute()) if script else ""
        self._directory = str(Path.cwd())
        self._started = _now()
        self._ended: str | None = None
        self._exit: dict[str, Any] | None = None
        self.status = "running"
        self._reason: str | None = None
        self._steps = 0
        self._seed: int | None = None
        self._unseen: dict[str, int] = {"compiled_nodes": 0, "nodes": 0}
        self._compiled: set[int] = set()
        self._git: dict[str, Any] | None = None
        self._written = time.monotonic()

    def ask_revision(self) -> None:
        """Ask git what is checked out.

        Once and before the training, on its own thread: a script that waits for its children
        while another thread asked could be handed ours.
        """
        self._git = _git(Path(self._script).parent if self._script else Path(self._directory))

    def seen_steps(self, count: int) -> None:
        """Count steps; the seed is asked for when the first has ended."""
        self._steps += count
        if self._seed is None:
            self._seed = torch.initial_seed()

    def saw(self, nodes: int, compiled: int, leaves: set[int]) -> None:
        """Note how much of the last sampled graph was hidden in compiled regions."""
        self._unseen = {"compiled_nodes": compiled, "nodes": nodes}
        self._compiled |= leaves

    def note(self, text: str) -> None:
        """Keep a remark on what was not seen, once; an empty one is none."""
        if text and text not in self.notes:
            self.notes.append(text)

    def stop(self, reason: str) -> None:
        """Note that the observation ended before the training did."""
        self.status, self._reason = "stopped", reason

    def end(self, exit_code: int | None, exception: str | None) -> None:
        """Note the end of the training."""
        self._ended = _now()
        self._exit = {"code": exit_code, "exception": exception}
        if self.status == "running":
            self.status = "complete"

    def closing(self, last: RunInfo) -> RunInfo:
        """Return ``run.json`` as last written, but with how the observation and the run ended."""
        return replace(
            last,
            headwater=headwater.__version__,
            command=self._command,
            script=self._script,
            directory=self._directory,
            started=self._started,
            ended=self._ended,
            exit=self._exit,
            observation=self._observation(),
        )

    def stale(self) -> bool:
        """Whether ``run.json`` should be written again for the figures of overhead alone."""
        return time.monotonic() - self._written > _REFRESH_S

    def info(
        self,
        *,
        names: Names,
        sites: SiteTable,
        cadence: Cadence,
        elapsed_s: float,
        unknown: Mapping[str, int],
        faults: Faults,
        expressions: Mapping[int, Form],
    ) -> RunInfo:
        """Return ``run.json`` as it stands."""
        self._written = time.monotonic()
        parameters = names.parameter_infos()
        elements = sum(info.elements for info in parameters)
        hidden = sum(parameters[index].elements for index in self._compiled)
        return RunInfo(
            headwater=headwater.__version__,
            command=self._command,
            script=self._script,
            directory=self._directory,
            started=self._started,
            ended=self._ended,
            exit=self._exit,
            versions={"python": platform.python_version(), "torch": str(torch.__version__)},
            device=names.devices(),
            git=self._git,
            seed=self._seed,
            sampling={
                "overhead": self._options.overhead,
                "every": self._options.every,
                "steps": list(self._options.steps) if self._options.steps else None,
                "eager_samples": self._options.eager_samples,
                "stop_on": self._options.stop_on,
                "keep_state": self._options.keep_state,
            },
            observation=self._observation(),
            overhead={
                "observer_s": cadence.spent_s + cadence.floor_s,
                "elapsed_s": elapsed_s,
                "steps": self._steps,
                "samples": cadence.samples,
                "pulses": cadence.pulses,
                "replay_s": faults.replay_s,
            },
            modules=names.modules(),
            parameters=parameters,
            optimisers=tuple(self.optimisers),
            sites=sites.render(parameters),
            expressions=tuple(
                Expression(expression=form.name, site=site, stable=form.stable)
                for site, form in tuple(expressions.items())
            ),
            sources=sites.sources(),
            unknown_operations=dict(unknown),
            faults=tuple(faults.found),
            unseen={
                **self._unseen,
                "compiled_parameter_share": hidden / elements if elements else 0.0,
            },
        )

    def _observation(self) -> dict[str, Any]:
        return {"status": self.status, "reason": self._reason, "notes": list(self.notes)}


def describe_optimiser(optimiser: torch.optim.Optimizer) -> OptimiserInfo:
    """Return an optimiser's class and the plain settings of its first group."""
    group = optimiser.param_groups[0] if optimiser.param_groups else {}
    settings = {
        name: float(value)
        if isinstance(value, int | float) and not isinstance(value, bool)
        else value
        for name, value in group.items()
        if name != "params" and isinstance(value, int | float | bool | str | None)
    }
    betas = group.get("betas")
    if isinstance(betas, tuple) and all(isinstance(beta, float) for beta in betas):
        settings |= {f"beta{n}": beta for n, beta in enumerate(betas, 1)}
    return OptimiserInfo(type=type(optimiser).__name__, settings=settings)


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _git(folder: Path) -> dict[str, Any] | None:
    def ask(*words: str) -> str | None:
        try:
            found = subprocess.run(
                ["git", "-C", str(folder), *words],
                capture_output=True,
                text=True,
                timeout=1,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return found.stdout.strip() if found.returncode == 0 else None

    revision = ask("rev-parse", "HEAD")
    if revision is None:
        return None
    return {"revision": revision, "dirty": bool(ask("status", "--porcelain", "-uno"))}
