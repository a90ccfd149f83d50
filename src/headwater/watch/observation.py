"""One observation: guards the course of a training, and its record, from each other's trouble.

Nothing here may disturb the training. Every method that torch calls is guarded: a fault of ours
takes all hooks away, is said once, is written into the record, and the training goes on.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from headwater.errors import TrainingStoppedError
from headwater.runs.info import RunInfo
from headwater.runs.writer import RunWriter
from headwater.watch.aftermath import Aftermath
from headwater.watch.cadence import Cadence
from headwater.watch.course import Course
from headwater.watch.delivery import Delivery
from headwater.watch.door import DOOR, Call
from headwater.watch.faults import Faults
from headwater.watch.identity import Identity
from headwater.watch.names import Names
from headwater.watch.options import Options
from headwater.watch.reach import is_captured
from headwater.watch.recorder import Recorder
from headwater.watch.samples import Sampler
from headwater.watch.sites import SiteTable
from headwater.watch.tracing import Tracing

_P = ParamSpec("_P")
_T = TypeVar("_T")

_THREADS = "several threads trained at once; only one of them is seen"


class Observation:
    """Observes every backward pass of the process between ``start`` and ``finish``.

    Args:
        folder: Where the record goes; it must not hold one already.
        options: How much to observe, and when.
        command: The words that started the training, for the record.
        script: Path of the script, or None where there is none.
        models: Modules known beforehand; others are found as they run.
        optimisers: Optimisers known beforehand; others are found as they step.
        faults: Who looks for the producer of a number that is none.
        ending: Makes what is raised where the training is to end, from the reason for it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        options: Options,
        command: Sequence[str],
        script: str | None,
        models: Sequence[nn.Module] = (),
        optimisers: Sequence[Optimizer] = (),
        faults: Callable[[Names], Faults] = Faults,
        ending: Callable[[str], BaseException] | None = None,
    ) -> None:
        self.folder = folder
        self.active = False
        self.failure: Exception | None = None
        self._given = (models, optimisers)
        self._names = Names()
        self._sites = SiteTable(self._names)
        self._sampler = Sampler(self._names, self._sites, self.fail)
        self._cadence = Cadence(options)
        self._identity = Identity(options, command, script)
        self._writer = RunWriter(folder)
        self._recorder = Recorder(self._writer, self._changed_info, self._cadence.charge)
        self._tracing = Tracing(eager=options.eager_samples, fault=self.fail)
        self._faults = faults(self._names)
        self._faults.plain_s = lambda: self._cadence.plain_s
        self._faults.tame = lambda: self._sampler.tame
        self._aftermath = Aftermath(
            options, self._names, self._faults, folder=folder.absolute(), note=self._identity.note
        )
        self._ending = ending or (lambda why: TrainingStoppedError(why, str(folder)))
        self._delivery = Delivery(self._recorder, self._cadence.alarm)
        self._course = Course(
            names=self._names,
            sampler=self._sampler,
            cadence=self._cadence,
            identity=self._identity,
            delivery=self._delivery,
            faults=self._faults,
            aftermath=self._aftermath,
            tracing=self._tracing,
        )
        self._process = os.getpid()
        self._home = threading.get_ident()
        # A block in a thread of its own is that thread's; the main one may leave it to another.
        self._thread = None if self._home == threading.main_thread().ident else self._home
        self._written_state: tuple[Any, ...] = ()

    @property
    def backwards(self) -> int:
        """How many backward passes have been seen."""
        return self._course.backwards

    # ------------------------------------------------------------ beginning and end

    def start(self) -> None:
        """Begin to observe; also writes the first ``run.json``."""
        self.active = True
        self._guard(self._begin)

    def _begin(self) -> None:
        given, self._given = self._given, ((), ())  # the model must not live for our sake
        self._identity.ask_revision()
        self._recorder.start()
        self._tracing.open()
        DOOR.enter(self)
        self._course.begin(*given)

    def flush(self) -> None:
        """Write all that has been seen so far."""
        if self.active:
            DOOR.close_lane()
        self._guard(self._delivery.pass_on)
        self._guard(self._recorder.flush)

    def finish(self, exit_code: int | None, exception: str | None) -> None:
        """Take everything away, write what is left, and close the record."""
        if os.getpid() != self._process:
            return  # a child that was forked in the middle: the record is its parent's
        try:
            if self.active:
                DOOR.close_lane()
            self._guard(self._course.end_open_step)
        finally:
            self._detach()
        self._identity.end(exit_code, exception)
        for last in (self._delivery.finish, self._recorder.stop, self._write_info):
            try:
                last()
            except Exception as error:
                self.fail(error)
        if self.failure is not None:
            self._amend()
        self._writer.close()

    def fail(self, error: Exception) -> None:
        """Stop observing because of a fault of ours; the training goes on."""
        if self.failure is not None:
            return
        self.failure = error
        self._detach()
        reason = _in_one_line(error)
        self._identity.stop(reason)
        self._amend()
        with suppress(Exception):  # a stderr that is closed, or on a full disk
            print(f"headwater: stopped observing ({reason}); the training goes on", file=sys.stderr)
            if os.environ.get("HEADWATER_DEBUG"):
                traceback.print_exception(error)

    def forked(self) -> None:
        """Let go of everything in a child process: the record is its parent's."""
        self._detach()

    def _detach(self) -> None:
        self.active = False
        with ExitStack() as stack:  # each, even where one fails
            stack.callback(DOOR.leave, self)
            stack.callback(self._tracing.close)
            stack.callback(self._course.let_go)

    # ------------------------------------------------------------ what passes the door

    def backward_begins(self, call: Call) -> object:
        """Hear that a backward pass starts."""
        token = self._hear(self._course.backward_begins, call)
        self._end_training()
        return token

    def backward_ends(
        self, call: Call, token: object, results: Sequence[Tensor | None] | None
    ) -> None:
        """Hear that a backward pass is over."""
        self._hear(self._course.backward_ends, call, token, results)
        if results is not None:  # an exception of the script's own goes first
            self._end_training()

    def gradient_is_bad(self, call: Call) -> None:
        """Hear that a pass by the lane left a gradient that is not finite."""
        self._hear(self._course.gradient_is_bad, call)

    def backward_unseen(self, why: str) -> None:
        """Hear of a backward pass that is left alone."""
        if self._concerns_us():
            self._guard(self._identity.note, why)

    def step_begins(self, optimiser: Optimizer) -> None:
        """Hear that an optimiser is about to step."""
        self._hear(self._course.step_begins, optimiser)

    def gradient_stands(self, optimiser: Optimizer) -> None:
        """Hear that the gradient of a step is there, as it is applied."""
        self._hear(self._course.gradient_stands, optimiser)

    def step_ends(self, optimiser: Optimizer) -> None:
        """Hear that an optimiser has stepped."""
        self._hear(self._course.step_ends, optimiser)
        lane = self._hear(self._course.offer_lane)
        if lane is not None and DOOR.lend(self, lane):
            self._hear(self._course.enter_lane, lane)

    def lane_ends(self, *, between_steps: bool) -> None:
        """Hear that the lane is closed."""
        self._guard(self._course.leave_lane, between_steps=between_steps)

    def loss_scaled(self, scaler: Any, loss: Any, output: Any) -> None:
        """Hear that a gradient scaler has scaled a loss."""
        self._hear(self._course.loss_scaled, scaler, loss, output)

    def scaler_step_begins(self, scaler: Any, optimiser: Optimizer) -> None:
        """Hear that a scaler may step an optimiser, or skip it."""
        self._hear(self._course.scaler_step_begins, scaler, optimiser)

    def scaler_step_ends(self, scaler: Any, optimiser: Optimizer) -> None:
        """Hear that a scaler is done."""
        self._hear(self._course.scaler_step_ends, scaler, optimiser)
        self._end_training()

    def _end_training(self) -> None:
        """Raise what ends the training, where its user asked for that and a step broke."""
        why = self._hear(self._aftermath.ending)
        if why:
            self._guard(self._course.let_go)
            raise self._ending(why)

    # ------------------------------------------------------------ the guard

    def _hear(self, method: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T | None:
        heard = self._concerns_us() and not is_captured()
        return self._guard(method, *args, **kwargs) if heard else None

    def _guard(self, method: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T | None:
        """Keep our faults from the training, and put the time we take on the account."""
        if not self.active:
            return None
        began = time.perf_counter()
        try:
            if self._recorder.error is not None:
                raise self._recorder.error
            return method(*args, **kwargs)
        except Exception as error:
            self.fail(error)
            return None
        except BaseException:  # an interrupt, which is the script's, in the middle of our work
            self._course.let_go()
            raise
        finally:
            self._cadence.charge(time.perf_counter() - began)

    def _concerns_us(self) -> bool:
        """Whether what passes is of the training that is observed: one thread's, our own first.

        Backward passes call hooks from threads of their own where they run on a device.
        """
        here = threading.get_ident()
        if here == self._thread or torch._C._current_graph_task_id() != -1:
            return True
        if self._thread is not None:
            self._identity.note(_THREADS)
            if here != self._home:
                return False
        self._thread = here
        return True

    # ------------------------------------------------------------ run.json

    def _changed_info(self) -> RunInfo | None:
        identity = self._identity
        state = (
            *(self._names.changes, len(self._sites), len(identity.optimisers)),
            *(identity.status, len(self._faults.found)),
        )
        if state == self._written_state and not identity.stale():
            return None
        self._written_state = state
        return self._info()

    def _write_info(self) -> None:
        self._writer.write_info(self._info())

    def _amend(self) -> None:
        """Add how it ended to the last ``run.json``, where a new one may not be had."""
        path = self._writer.folder / "run.json"
        with suppress(Exception):
            last = RunInfo.from_json(json.loads(path.read_bytes())) if path.exists() else RunInfo()
            self._writer.amend_info(self._identity.closing(last))

    def _info(self) -> RunInfo:
        return self._identity.info(
            names=self._names,
            sites=self._sites,
            cadence=self._cadence,
            elapsed_s=self._course.elapsed_s(),
            unknown=self._sampler.unknown,
            faults=self._faults,
            expressions=self._sampler.expressions,
        )


def _in_one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    name = type(error).__name__
    return f"{name}: {text[:_LONGEST]}" if text else name


_LONGEST = 200
