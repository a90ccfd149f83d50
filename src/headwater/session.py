"""A watched block: ``with headwater.watch() as run: train()``, and what can be asked of it."""

from __future__ import annotations

import functools
import os
import sys
import weakref
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from headwater.errors import UsageError
from headwater.records import Finding, Verdict
from headwater.runs.reader import Run
from headwater.runs.writer import write_findings
from headwater.watch.folder import given_folder, run_folder
from headwater.watch.launcher import describe
from headwater.watch.options import Options, need_safetensors

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from headwater.runs.ledger import Ledger
    from headwater.watch.observation import Observation


class watch:  # noqa: N801  # it is used as a function
    """Observe every backward pass of a block, as ``headwater run`` does of a script.

    Neither argument is needed: models are found as they run, optimisers as they step. Blocks may
    be nested, each with a record of its own, and ``@watch()`` observes each call of a function.

    Args:
        model: A module, to be named as the root even if others run too.
        optimizer: Accepted so that a run whose optimiser never steps still knows what it holds.
        out: Folder of the record; by default a new one under ``headwater-runs``.
        overhead: Share of the time that observing may take.
        every: Sample every Nth step, and 1, 2, 4, … before the first N, whatever it costs.
        steps: Sample the steps from the first up to, not including, the second.
        eager_samples: Run compiled regions uncompiled on sampled steps; changes their arithmetic.
        stop_on: ``"non-finite"`` raises `TrainingStoppedError` out of the backward pass of the step
            at which a loss or a gradient stops being finite, before its optimiser steps.
        keep_state: Keep that step's batch, weights, buffers and random states in the run's folder,
            for `headwater.watch.kept.load_state`. Needs safetensors.

    Raises:
        UsageError: An option out of range, or a folder that already holds a run.
        MissingExtraError: ``keep_state`` without safetensors.
        TrainingStoppedError: Raised out of the block where ``stop_on`` asks for it.

    Example:
        >>> import tempfile, torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh())
        >>> optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with watch(model, optimiser, out=tempfile.mkdtemp()) as run:
        ...     for _ in range(3):
        ...         optimiser.zero_grad()
        ...         model(torch.ones(4, 2)).square().mean().backward()
        ...         optimiser.step()
        >>> sorted(run.ledger(0).names)[0], run.record.pulse.num_rows
        ('0.bias', 3)
    """

    def __init__(
        self,
        model: nn.Module | None = None,
        optimizer: Optimizer | None = None,
        *,
        out: str | os.PathLike[str] | None = None,
        overhead: float = 0.01,
        every: int | None = None,
        steps: tuple[int, int] | None = None,
        eager_samples: bool = False,
        stop_on: Literal["non-finite"] | None = None,
        keep_state: bool = False,
    ) -> None:
        self._options = _checked(
            Options(
                overhead=overhead,
                every=every,
                steps=steps,
                eager_samples=eager_samples,
                stop_on=stop_on,
                keep_state=keep_state,
            )
        )
        # Weakly: who keeps the run to ask it later need not keep the model.
        self._model = weakref.ref(model) if model is not None else _nothing
        self._optimizer = weakref.ref(optimizer) if optimizer is not None else _nothing
        self._out = Path(out) if out is not None else None
        self._open: list[Observation] = []
        self._observation: Observation | None = None
        self._record: Run | None = None

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``function`` observed at each call, each call with a record of its own."""

        @functools.wraps(function)
        def observed(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return function(*args, **kwargs)

        return observed

    def _again(self) -> watch:
        return watch(
            self._model(),
            self._optimizer(),
            out=self._out,
            overhead=self._options.overhead,
            every=self._options.every,
            steps=self._options.steps,
            eager_samples=self._options.eager_samples,
            stop_on=self._options.stop_on,
            keep_state=self._options.keep_state,
        )

    def __enter__(self) -> Self:
        from headwater.watch.observation import Observation

        environ = dict(os.environ)
        script = getattr(sys.modules.get("__main__"), "__file__", None)
        stem = Path(script).stem if script else "session"
        folder = (
            given_folder(self._out, environ)
            if self._out is not None
            else run_folder(Path.cwd(), stem, environ, datetime.now())
        )
        model, optimizer = self._model(), self._optimizer()
        observation = Observation(
            folder,
            options=self._options,
            command=tuple(sys.argv),
            script=script,
            models=(model,) if model is not None else (),
            optimisers=(optimizer,) if optimizer is not None else (),
        )
        observation.start()
        self._record, self._observation = None, observation
        self._open.append(observation)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.pop().finish(None, describe(error) if error is not None else None)

    @property
    def folder(self) -> Path:
        """The folder of the record."""
        if self._observation is None:
            raise UsageError(
                "this watch has not begun; enter it first: with headwater.watch() as run"
            )
        return self._observation.folder

    @property
    def record(self) -> Run:
        """The record as it reads now; complete once the block has ended."""
        if self._observation is not None and self._observation.active:
            self._observation.flush()
            return Run.open(self.folder)
        if self._record is None:
            self._record = Run.open(self.folder)
        return self._record

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Every rule's answer on the record as it reads now."""
        from headwater.rules import judge

        return judge(self.record)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong, by the record as it reads now; also written to ``findings.json``."""
        found = tuple(finding for verdict in self.verdicts for finding in verdict.findings)
        write_findings(self.folder, [finding.to_json() for finding in found])
        return found

    def ledger(self, step: int | None = None, backward: int = 0) -> Ledger:
        """Return the account of a sampled step, the newest if None."""
        return self.record.ledger(step, backward)


def _nothing() -> None:
    return None


def _checked(options: Options) -> Options:
    overhead, every, steps = options.overhead, options.every, options.steps
    if not 0 <= overhead <= 1:
        raise UsageError(f"overhead got {overhead!r}; it takes a share from 0 to 1, as in 0.01")
    if every is not None and every < 1:
        raise UsageError(f"every got {every!r}; it takes a whole number of at least 1, as in 10")
    if steps is not None and not 0 <= steps[0] < steps[1]:
        raise UsageError(f"steps got {steps!r}; it takes (A, B) with 0 <= A < B, as in (0, 100)")
    if options.stop_on not in (None, "non-finite"):
        raise UsageError(f"stop_on got {options.stop_on!r}; it takes 'non-finite', or None")
    if options.keep_state:
        need_safetensors("keep_state")
    return options
