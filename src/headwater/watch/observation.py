"""One observation: hears what passes the door, samples by the cadence, hands rows to the recorder.

Nothing here may disturb the training. Every method that torch calls is guarded: a fault of ours
takes all hooks away, is said once, is written into the record, and the training goes on.
"""

from __future__ import annotations

import functools
import os
import sys
import time
import traceback
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from headwater.runs.info import RunInfo
from headwater.runs.writer import RunWriter
from headwater.watch.cadence import Cadence
from headwater.watch.delivery import Delivery
from headwater.watch.door import DOOR, Call
from headwater.watch.identity import Identity, describe_optimiser
from headwater.watch.names import Names
from headwater.watch.options import Options
from headwater.watch.parameters import read_after, read_applied, read_before
from headwater.watch.recorder import Recorder
from headwater.watch.samples import GraphSample, Sampler
from headwater.watch.sites import SiteTable
from headwater.watch.steps import ByHand, Losses, Step
from headwater.watch.tracing import Tracing

_P = ParamSpec("_P")
_T = TypeVar("_T")

_GRAPHS_A_STEP = 4
"""A sampled step takes the ledger of at most so many backward passes (accumulation has many)."""


def _guarded(
    method: Callable[Concatenate[Observation, _P], _T],
) -> Callable[Concatenate[Observation, _P], _T | None]:
    """Keep our faults from the training, and put the time we take on the account."""

    @functools.wraps(method)
    def guard(self: Observation, /, *args: _P.args, **kwargs: _P.kwargs) -> _T | None:
        if not self.active:
            return None
        began = time.perf_counter()
        try:
            return method(self, *args, **kwargs)
        except Exception as error:
            self.fail(error)
            return None
        finally:
            self._cadence.charge(time.perf_counter() - began)

    return guard


class Observation:
    """Observes every backward pass of the process between ``start`` and ``finish``.

    Args:
        folder: Where the record goes; it must not hold one already.
        options: How much to observe, and when.
        command: The words that started the training, for the record.
        script: Path of the script, or None where there is none.
        models: Modules known beforehand; others are found as they run.
        optimisers: Optimisers known beforehand; others are found as they step.
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
    ) -> None:
        self.folder = folder
        self.active = False
        self.backwards = 0
        self.failure: Exception | None = None
        self._given = (models, optimisers)
        self._names = Names()
        self._sites = SiteTable(self._names)
        self._sampler = Sampler(self._names, self._sites, self.fail)
        self._cadence = Cadence(options)
        self._identity = Identity(options, command, script)
        self._writer = RunWriter(folder)
        self._recorder = Recorder(self._writer, self._changed_info, self.fail, self._cadence.charge)
        self._delivery = Delivery(self._recorder, self._cadence.alarm)
        self._tracing = Tracing(eager=options.eager_samples)
        self._optimisers: list[Callable[[], Optimizer | None]] = []
        self._losses = Losses()
        self._by_hand = ByHand()
        self._scaler_waits = False
        self._usual_backwards: dict[int | None, int] = {}
        self._started = self._step_began = time.perf_counter()
        self._written_state: tuple[int, ...] = ()
        self._step = self._step_before = Step(0, sampled=False, pulsed=False)

    # ------------------------------------------------------------ beginning and end

    def start(self) -> None:
        """Begin to observe; also writes the first ``run.json``."""
        self._started = self._step_began = time.perf_counter()
        models, optimisers = self._given
        for model in models:
            self._names.add_root(model)
        for optimiser in optimisers:
            self._optimiser_index(optimiser)
        self.active = True
        self._recorder.start()
        DOOR.enter(self)
        self._next_step(0)
        self._cadence.charge(time.perf_counter() - self._started)

    def flush(self) -> None:
        """Write all that has been seen so far."""
        self._delivery.pass_on()
        self._recorder.flush()

    def finish(self, exit_code: int | None, exception: str | None) -> None:
        """Take everything away, write what is left, and close the record."""
        self._end_open_step()
        self._detach()
        self._identity.end(exit_code, exception)
        try:
            self._delivery.finish()
            self._recorder.stop()
            self._writer.write_info(self._info())
        except Exception as error:
            self.fail(error)
        self._writer.close()

    def fail(self, error: Exception) -> None:
        """Stop observing because of a fault of ours; the training goes on."""
        if self.failure is not None:
            return
        self.failure = error
        self._detach()
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        self._identity.stop(reason)
        print(f"headwater: stopped observing ({reason}); the training goes on", file=sys.stderr)
        if os.environ.get("HEADWATER_DEBUG"):
            traceback.print_exception(error)

    def _detach(self) -> None:
        self.active = False
        DOOR.leave(self)
        for graph in self._step.graphs:
            graph.tap.detach()
        self._tracing.set(False)

    # ------------------------------------------------------------ what passes the door

    @_guarded
    def _end_open_step(self) -> None:
        """Keep the last step of a training without optimiser, or of one that ended within it."""
        if self._step.backwards:
            self._end_step(None)

    @_guarded
    def backward_begins(self, call: Call) -> GraphSample | None:
        """Hear that a backward pass starts; attach to its graph if this step is sampled."""
        if not call.nested and self._stepped_by_hand():
            self._end_step(None)
        self._tracing.pause(creates_graph=call.creates_graph)
        if call.nested:
            graphs = self._step.graphs
            if graphs and graphs[-1].tap.current is not None:
                self._sampler.nest(graphs[-1], call)
            return None
        step = self._step
        step.backwards += 1
        self.backwards += 1
        self._losses.note(step, call, optimiser_known=bool(self._optimisers))
        if not step.sampled or len(step.graphs) >= _GRAPHS_A_STEP:
            return None
        moment = step.number if self._optimisers else -self.backwards
        graph = self._sampler.begin(call, step.number, step.backwards - 1, moment)
        if graph is not None:
            step.graphs.append(graph)
        return graph

    @_guarded
    def backward_ends(
        self, call: Call, token: object, results: Sequence[Tensor | None] | None
    ) -> None:
        """Hear that a backward pass is over; take the raw gradients."""
        if isinstance(token, GraphSample):
            token.tap.detach()
            self._cadence.charge(token.tap.seconds)
        self._tracing.resume()
        if call.nested:
            return
        reached = None
        if isinstance(token, GraphSample) and results is not None:
            if call.is_grad:
                self._sampler.capture(token, call, results)
            token.numbers.clear()
            reached = token.reached()
            self._delivery.graph(token)
            self._identity.saw(len(token.sites), token.compiled_nodes, token.compiled_leaves)
        if self._step.pulsed or self._step.sampled:
            began = time.perf_counter()
            self._take_norms(reached)
            if not self._step.sampled:
                self._cadence.pulsed(time.perf_counter() - began)
        if not self._optimisers:
            self._by_hand.remember(self._with_gradients())

    @_guarded
    def backward_unseen(self, why: str) -> None:
        """Hear of a backward pass that is left alone."""
        self._identity.note(why)

    @_guarded
    def step_begins(self, optimiser: Optimizer) -> None:
        """Hear that an optimiser is about to step: the weights as they are."""
        self._scaler_waits = False
        index = self._optimiser_index(optimiser)
        if not self._step.sampled:
            return
        sample = self._step.parameter_sample()
        mine = self._held_by(index)
        with torch.no_grad():
            known = self._names.parameters
            layers = {i: (known[i].module_type, known[i].groups) for i in mine}
            sample.updates = read_before(mine, layers, optimiser)

    @_guarded
    def gradient_stands(self, optimiser: Optimizer) -> None:
        """Hear that the gradient of a step is there, as it is applied."""
        sample = self._step.parameters
        if sample is not None:
            scale = getattr(optimiser, "grad_scale", None)  # a fused optimiser unscales by itself
            with torch.no_grad():
                mine = self._held_by(self._optimiser_index(optimiser))
                read_applied(mine, sample.updates, scale if isinstance(scale, Tensor) else None)

    @_guarded
    def step_ends(self, optimiser: Optimizer) -> None:
        """Hear that an optimiser has stepped: what the step changed."""
        index = self._optimiser_index(optimiser)
        sample = self._step.parameters
        if sample is not None:
            with torch.no_grad():
                read_after(self._held_by(index), sample.updates)
        found = getattr(optimiser, "found_inf", None)  # set where the fused step skips by itself
        on_host = isinstance(found, Tensor) and found.device.type == "cpu"
        self._end_step(
            index, skipped=bool(found.item()) if on_host and found is not None else False
        )

    @_guarded
    def loss_scaled(self, scaler: Any, output: Any) -> None:
        """Hear that a gradient scaler has scaled a loss."""
        self._losses.scale.scaled(scaler, output)

    @_guarded
    def scaler_step_begins(self, _scaler: Any, _optimiser: Optimizer) -> None:
        """Hear that a scaler may step an optimiser, or skip it."""
        self._scaler_waits = True

    @_guarded
    def scaler_step_ends(self, _scaler: Any, optimiser: Optimizer) -> None:
        """Hear that a scaler is done: if the optimiser was not stepped, the step was skipped."""
        if self._scaler_waits:
            self._scaler_waits = False
            self._end_step(self._optimiser_index(optimiser), skipped=True)

    # ------------------------------------------------------------ one step

    def _next_step(self, number: int) -> None:
        elapsed = time.perf_counter() - self._started
        count = len(self._optimisers)
        sampled = self._cadence.wants_sample(number, elapsed, count)
        pulsed = self._cadence.wants_pulse(number, count)
        self._step = Step(number, sampled=sampled, pulsed=pulsed)
        self._tracing.set(sampled)
        self._names.traced = self._names.traced or sampled

    def _end_step(self, optimiser: int | None, *, skipped: bool = False) -> None:
        step, now = self._step, time.perf_counter()
        seconds, self._step_began = now - self._step_began, now
        step.end(optimiser, skipped, self._step_before)
        step.graphs.clear()
        self._step_before = step
        if step.sampled:
            self._cadence.charge(self._tracing.take_seconds())
            self._cadence.sampled()
            held = {i: known.optimiser for i, known in enumerate(self._names.parameters)}
            self._delivery.parameters(step, held)
        elif step.number > 0:
            self._cadence.plain(seconds)
        self._cadence.pulses += step.norms is not None
        self._identity.seen_step()
        self._delivery.pulse(step, now - self._started, seconds)
        self._delivery.pass_on()
        self._usual_backwards[optimiser] = step.backwards or 1
        self._next_step(step.number + 1)

    def _stepped_by_hand(self) -> bool:
        if self._optimisers or self._step.backwards == 0:
            return False
        return self._losses.grad_trains or self._by_hand.stepped()

    def _take_norms(self, reached: set[int] | None) -> None:
        tensors = self._with_gradients()
        gradients = {index: tensor.grad for index, tensor in tensors if tensor.grad is not None}
        with torch.no_grad():
            self._step.take(gradients, min(self._usual_backwards.values(), default=1))
        if self._step.sampled:
            for index in gradients if reached is None else reached:
                self._names.parameters[index].got_gradient = True

    def _with_gradients(self) -> list[tuple[int, Tensor]]:
        tensors = [known.tensor() for known in self._names.parameters]
        return [(i, t) for i, t in enumerate(tensors) if t is not None and t.grad is not None]

    def _held_by(self, optimiser: int) -> dict[int, Tensor]:
        known = enumerate(self._names.parameters)
        tensors = {i: p.tensor() for i, p in known if p.optimiser == optimiser}
        return {index: tensor for index, tensor in tensors.items() if tensor is not None}

    def _optimiser_index(self, optimiser: Optimizer) -> int:
        for index, known in enumerate(self._optimisers):
            if known() is optimiser:
                return index
        self._optimisers.append(weakref.ref(optimiser))
        index = len(self._optimisers) - 1
        self._names.add_optimiser(index, optimiser)
        self._identity.optimisers.append(describe_optimiser(optimiser))
        return index

    # ------------------------------------------------------------ run.json

    def _changed_info(self) -> RunInfo | None:
        state = (self._names.changes, len(self._sites), len(self._identity.optimisers))
        if state == self._written_state and not self._identity.stale():
            return None
        self._written_state = state
        return self._info()

    def _info(self) -> RunInfo:
        return self._identity.info(
            names=self._names,
            sites=self._sites,
            cadence=self._cadence,
            elapsed_s=time.perf_counter() - self._started,
            unknown=self._sampler.unknown,
        )
