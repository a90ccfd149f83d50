"""The course of one training: its passes and steps, what is sampled, and what becomes a row.

Nothing is guarded here: what goes wrong is caught by the observation, which then lets go.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from headwater.watch.aftermath import Aftermath
from headwater.watch.cadence import Cadence
from headwater.watch.delivery import Delivery
from headwater.watch.door import Call
from headwater.watch.faults import Faults
from headwater.watch.identity import Identity, describe_optimiser
from headwater.watch.lane import Lane, step_cost_s
from headwater.watch.names import Names
from headwater.watch.parameters import read_after, read_applied, read_before
from headwater.watch.reach import COMPILED, compiles_autograd
from headwater.watch.samples import GraphSample, Sampler
from headwater.watch.secant import Secants
from headwater.watch.statistics import Scalar
from headwater.watch.steps import ByHand, Losses, Step
from headwater.watch.tap import Tap
from headwater.watch.tracing import Tracing

_GRAPHS_A_STEP = 4
"""A sampled step takes the ledger of at most so many backward passes (accumulation has many)."""

_SHORTEST_LANE = 2
"""Steps that a lane is worth its opening for."""

_GIVES_WAY = 3
"""A training whose steps leave the lane in the middle so often in a row has no use for one."""

_INTRODUCTIONS = 3
"""Passes walked for their parameters where no sample did it: these tell a step by hand."""


_SEARCH = 10
"""Steps that a gradient scaler may skip in a row; more are no search for a scale any more."""


class Course:
    """Hears what passes the door, samples by the cadence, hands figures to the delivery."""

    def __init__(
        self,
        *,
        names: Names,
        sampler: Sampler,
        cadence: Cadence,
        identity: Identity,
        delivery: Delivery,
        faults: Faults,
        aftermath: Aftermath,
        tracing: Tracing,
    ) -> None:
        self.backwards = 0
        self._names = names
        self._sampler = sampler
        self._cadence = cadence
        self._identity = identity
        self._delivery = delivery
        self._faults = faults
        self._aftermath = aftermath
        self._tracing = tracing
        self._taps: list[Tap] = []
        self._optimisers: list[Callable[[], Optimizer | None]] = []
        self._losses = Losses()
        self._by_hand = ByHand()
        self._secants = Secants()
        self._scaler_waits = False
        self._skipped = 0
        self._lane: Lane | None = None
        self._gave_way = 0
        self._planned: tuple[bool, bool] | None = None
        self._usual_backwards: dict[int | None, int] = {}
        self._started = self._step_began = time.perf_counter()
        self._step = self._step_before = Step(0, sampled=False, pulsed=False)

    # ------------------------------------------------------------ beginning and end

    def begin(self, models: Sequence[nn.Module], optimisers: Sequence[Optimizer]) -> None:
        """Begin the first step, with the models and optimisers that are known beforehand."""
        self._started = self._step_began = time.perf_counter()
        for model in models:
            self._names.add_root(model)
        for optimiser in optimisers:
            self._optimiser_index(optimiser)
        self._next_step(0)

    def elapsed_s(self) -> float:
        """Return the time since the beginning."""
        return time.perf_counter() - self._started

    def let_go(self) -> None:
        """Take every hook off the graphs: a backward pass was cut short, or the course is over."""
        taps, self._taps = self._taps, []
        for tap in taps:
            tap.detach()
        self._tracing.recover()

    def end_open_step(self) -> None:
        """Keep the last step of a training without optimiser, or of one that ended within it."""
        if self._step.backwards:
            self._end_step(None)

    # ------------------------------------------------------------ what passes the door

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
        if step.backwards == 0:
            self._cadence.pulsing()
        step.backwards += 1
        self.backwards += 1
        if not self._names.parameters and self.backwards <= _INTRODUCTIONS:
            self._sampler.meet(call, -self.backwards)
        graph = self._sample(call) if step.sampled else None
        trains = bool(self._optimisers) or self._names.has_module
        told = len(step.losses)
        self._losses.note(step, call, trains_otherwise=trains)
        if len(step.losses) > told:
            self._loss_stands(call, step.losses[-1])
        self._tracing.forget(call.roots)
        return graph

    def _loss_stands(self, call: Call, loss: Scalar) -> None:
        """Look for the producer of a loss that is no number, and do not count the time as ours."""
        if self._losses.scale.known and self._losses.scale.overflows(loss):
            return
        before = self._faults.replay_s
        (loss,) = self._aftermath.at_once([loss])
        self._faults.loss_stands(call, self._step.number, loss)
        self._cadence.charge(before - self._faults.replay_s)
        self._aftermath.follow()

    def _gradients_stand(self, call: Call, results: Sequence[Tensor | None] | None = None) -> None:
        if self._losses.scale.known and self._skipped < _SEARCH:
            return  # a scaler searches for its scale by gradients that overflow
        before = self._faults.replay_s
        taken = self._step.norms if self._step.pulsed or self._step.sampled else None
        if taken is not None:
            sizes = self._aftermath.at_once([size for _, size in taken])
            taken = [(index, size) for (index, _), size in zip(taken, sizes, strict=True)]
        if call.is_grad and self._losses.grad_trains and not call.creates_graph:
            self._faults.results_stand(call, self._step.number, results or ())
        else:
            self._faults.gradients_stand(call, self._step.number, taken)
        self._cadence.charge(before - self._faults.replay_s)
        self._aftermath.follow()

    def gradient_is_bad(self, call: Call) -> None:
        """Hear that a pass by the lane left a gradient that is not finite."""
        self._gradients_stand(call)

    def _sample(self, call: Call) -> GraphSample | None:
        step = self._step
        if len(step.graphs) >= _GRAPHS_A_STEP:
            return None
        if compiles_autograd():
            self._identity.note(COMPILED)
            return None
        moment = step.number if self._optimisers else -self.backwards
        graph = self._sampler.begin(call, step.number, step.backwards - 1, moment)
        if graph is not None:
            step.graphs.append(graph)
            self._taps.append(graph.tap)
        return graph

    def backward_ends(
        self, call: Call, token: object, results: Sequence[Tensor | None] | None
    ) -> None:
        """Hear that a backward pass is over; take the raw gradients."""
        if isinstance(token, GraphSample):
            token.tap.detach()
            self._taps = [tap for tap in self._taps if tap is not token.tap]
            self._cadence.charge(token.tap.seconds)
        self._tracing.resume(self._made(call, results))
        if call.nested:
            return
        seen = None
        if isinstance(token, GraphSample) and results is not None:
            if call.is_grad:
                self._sampler.capture(token, call, results)
            token.numbers.clear()
            seen = token
            self._delivery.graph(token)
            self._identity.saw(len(token.sites), token.compiled_nodes, token.compiled_leaves)
        if self._step.pulsed or self._step.sampled:
            self._take_norms(seen)
        self._gradients_stand(call, results)
        if not self._optimisers:
            first = next((index for index, _ in self._names.with_gradients()), None)
            known = self._names.parameters
            self._by_hand.remember(known[first].tensor if first is not None else None)
            self._look_ahead()

    def step_begins(self, optimiser: Optimizer) -> None:
        """Hear that an optimiser is about to step: the weights as they are."""
        self._scaler_waits = False
        index = self._optimiser_index(optimiser)
        if not self._step.sampled:
            return
        sample = self._step.parameter_sample()
        mine = self._names.held_by(index)
        with torch.no_grad():
            known = self._names.parameters
            layers = {i: (known[i].module_type, known[i].groups) for i in mine}
            looped = set[int]().union(*(graph.looped for graph in self._step.graphs))
            sample.updates = read_before(mine, layers, optimiser, looped)

    def gradient_stands(self, optimiser: Optimizer) -> None:
        """Hear that the gradient of a step is there, as it is applied."""
        sample = self._step.parameters
        if sample is None and not self._secants.waits(self._step.number):
            return
        index = self._optimiser_index(optimiser)
        mine = self._names.held_by(index)
        with torch.no_grad():
            self._secants.arrive(index, mine, self._step)
            if sample is not None:
                scale = getattr(optimiser, "grad_scale", None)  # a fused one unscales by itself
                read_applied(mine, sample.updates, scale if isinstance(scale, Tensor) else None)

    def step_ends(self, optimiser: Optimizer) -> None:
        """Hear that an optimiser has stepped: what the step changed."""
        index = self._optimiser_index(optimiser)
        sample = self._step.parameters
        if sample is not None:
            with torch.no_grad():
                mine = self._names.held_by(index)
                read_after(mine, sample.updates)
                self._secants.leave(index, mine, self._step, sample.updates)
        found = getattr(optimiser, "found_inf", None)  # set where the fused step skips by itself
        on_host = isinstance(found, Tensor) and found.device.type == "cpu"
        self._end_step(
            index, skipped=bool(found.item()) if on_host and found is not None else False
        )

    def loss_scaled(self, scaler: Any, loss: Any, output: Any) -> None:
        """Hear that a gradient scaler has scaled a loss."""
        self._losses.scale.scaled(scaler, loss, output)

    def scaler_step_begins(self, _scaler: Any, _optimiser: Optimizer) -> None:
        """Hear that a scaler may step an optimiser, or skip it."""
        self._scaler_waits = True

    def scaler_step_ends(self, _scaler: Any, optimiser: Optimizer) -> None:
        """Hear that a scaler is done: if the optimiser was not stepped, the step was skipped."""
        if self._scaler_waits:
            self._scaler_waits = False
            self._end_step(self._optimiser_index(optimiser), skipped=True)

    # ------------------------------------------------------------ steps that are hardly looked at

    def offer_lane(self) -> Lane | None:
        """Return a lane for the steps to come, where nothing but their loss is wanted."""
        step, only = self._step, self._usual_backwards.get(0)
        watched = self._faults.every_step or self._aftermath.watches
        if step.sampled or step.pulsed or self._gave_way >= _GIVES_WAY or watched:
            return None
        if len(self._optimisers) != 1 or only != 1 or self._losses.scale.known:
            return None
        optimiser, steps = self._optimisers[0](), self._cadence.lane_steps(step.number)
        if optimiser is None or steps < _SHORTEST_LANE:
            return None
        until = self._cadence.lane_until(self._step_began)
        return Lane(optimiser, steps=steps, until=until, sentinel=self._faults.sentinel())

    def enter_lane(self, lane: Lane) -> None:
        """Let steps pass by a lane until it is closed."""
        self._lane = lane
        self._faults.forget_random_state()

    def leave_lane(self, *, between_steps: bool) -> None:
        """Take in what passed by the lane; go on where it ended, maybe in the middle of a step."""
        lane, self._lane = self._lane, None
        if lane is None:
            return
        number, passed = self._step.number, len(lane.ends)
        times = [end - self._started for end in lane.ends]
        before = self._step_began - self._started
        spans = [b - a for a, b in pairwise([before, *times])]
        self._delivery.plain_steps(number, times, spans, lane.losses[:passed])
        self._cadence.plain(*spans)
        each_s = step_cost_s(self._cadence.plain_s)
        self._cadence.charge_floor(each_s * len(lane.losses))
        self._identity.seen_steps(passed)
        self.backwards += len(lane.losses)
        if passed:
            self._step_began = lane.ends[-1]
            self._step_before = Step(number + passed - 1, sampled=False, pulsed=False, backwards=1)
        self._gave_way = 0 if between_steps else self._gave_way + 1
        if between_steps:
            self._next_step(number + passed)
            return
        self._step = Step(number + passed, sampled=False, pulsed=False)
        if lane.halfway:
            self._step.backwards, self._step.losses = 1, lane.losses[passed:]

    # ------------------------------------------------------------ one step

    def _next_step(self, number: int) -> None:
        sampled, pulsed = self._planned or self._plan(number)
        self._planned = None
        if sampled:
            self._cadence.sampling()
        self._step = Step(number, sampled=sampled, pulsed=pulsed)
        self._faults.step_begins(number)
        self._aftermath.step_begins()
        self._tracing.set(sampled)
        self._names.traced = self._names.traced or sampled

    def _plan(self, number: int) -> tuple[bool, bool]:
        count = len(self._optimisers)
        sampled = self._cadence.wants_sample(number, self.elapsed_s(), count)
        pulsed = self._cadence.wants_pulse(number, count)
        return sampled, pulsed or self._aftermath.watches or self._secants.waits(number)

    def _look_ahead(self) -> None:
        """Trace for the next step, too: where none is heard, it begins with a backward pass.

        By then its forward pass is over.
        """
        self._planned = self._planned or self._plan(self._step.number + 1)
        self._tracing.set(self._step.sampled or self._planned[0])

    def _end_step(self, optimiser: int | None, *, skipped: bool = False) -> None:
        step, now = self._step, time.perf_counter()
        seconds, self._step_began = now - self._step_began, now
        step.end(optimiser, skipped, self._step_before)
        self._aftermath.step_ends(step.number, skipped=skipped)
        self._skipped = self._skipped + 1 if skipped else 0
        step.graphs.clear()
        self._step_before = step
        if step.sampled:
            self._cadence.charge(self._tracing.take_seconds())
            self._cadence.sampled()
            self._names.called |= self._tracing.modules()
            held = {i: known.optimiser for i, known in enumerate(self._names.parameters)}
            self._delivery.parameters(step, held)
        elif step.number > 0:
            self._cadence.plain(seconds)
            if step.norms is not None:
                self._cadence.pulsed()
        self._cadence.pulses += step.norms is not None
        self._identity.seen_steps(1)
        self._delivery.pulse(step, now - self._started, seconds)
        self._delivery.pass_on()
        self._usual_backwards[optimiser] = step.backwards or 1
        self._next_step(step.number + 1)

    def _stepped_by_hand(self) -> bool:
        if self._optimisers or self._step.backwards == 0:
            return False
        return self._losses.grad_trains or self._by_hand.stepped()

    def _take_norms(self, seen: GraphSample | None) -> None:
        tensors = self._names.with_gradients()
        gradients = {index: tensor.grad for index, tensor in tensors if tensor.grad is not None}
        with torch.no_grad():
            self._step.take(gradients, min(self._usual_backwards.values(), default=1))
        if self._step.sampled:
            self._faults.choose_sentinel(seen.lowest if seen is not None else ())
            for index in gradients if seen is None else seen.reached():
                self._names.parameters[index].got_gradient = True

    def _made(self, call: Call, results: Sequence[Tensor | None] | None) -> Sequence[Tensor | None]:
        """Return the gradients that a backward pass made, where they have a graph of their own."""
        if not call.creates_graph or results is None:
            return ()
        if call.is_grad:
            return results
        return [tensor.grad for _, tensor in self._names.with_gradients()]

    def _optimiser_index(self, optimiser: Optimizer) -> int:
        for index, known in enumerate(self._optimisers):
            if known() is optimiser:
                self._names.add_optimiser(index, optimiser)
                return index
        self._optimisers.append(weakref.ref(optimiser))
        index = len(self._optimisers) - 1
        self._names.add_optimiser(index, optimiser)
        self._identity.optimisers.append(describe_optimiser(optimiser))
        return index
