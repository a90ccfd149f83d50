r"""What theory wants of every weight: mean field along the way of the signal.

A weight after an activation whose pre-activations have variance q gets
:math:`\sigma_w^2 = 1 / E[\phi'^2]` *at that q*, so that the gradient's mean square is kept
through both, whatever the variance does; then the variance is
:math:`q' = \sigma_w^2 E[\phi^2] + \sigma_b^2`, or with centred rows
:math:`\sigma_w^2 Var[\phi] + \sigma_b^2`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from headwater.checks.descriptions import Stage, flat
from headwater.checks.readings import Reading
from headwater.checks.weights import Weights
from headwater.errors import NotCoveredError
from headwater.initialisers.chains import (
    NORMS,
    between,
    has_weights,
    is_sum,
    last_factor,
    last_weights,
    name_of,
    normalised_after,
    sums_in,
    uncovered_weights,
    ways,
)
from headwater.initialisers.draws import centrable
from headwater.theory.activations import moment, output_variance
from headwater.theory.catalogue import find_activation
from headwater.theory.layers import Activate, BatchNorm, Convolution, Dense, Layer, NotCovered
from headwater.theory.residual import batch_norm_factor
from headwater.theory.transfer import Signal, pass_layer

CENTRED = (
    "rows centred: its inputs are all of one sign, and independent rows would drive the variance "
    "away while they keep the gradient"
)
NORMALISED = "normalised afterwards: its scale has no effect, and is 1"
_CLEARLY = 0.5  # of the conflict of independent rows: what centring must get below to be chosen


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What theory wants of one use of a weight.

    Attributes:
        weights: As the node uses it.
        follows: What stands before it.
        variance: sigma_w^2, or None where it should be left as it is.
        centred: Whether rows are centred.
        note: Why.
    """

    weights: Weights
    follows: str
    variance: float | None
    centred: bool = False
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Factor:
    """The learnt factor of a norm that ends a residual branch, and the mean square it gets."""

    tensor: object
    square: float
    branches: int


@dataclass(frozen=True, slots=True)
class State:
    """The signal at a place of the way, and what the gradient still owes since the last weights.

    ``power`` is the gain of its mean square through all that stood in between; ``conflict`` what
    the last activation would do to the variance, if rows are independent and if they are centred;
    ``fresh`` whether no weights came yet.
    """

    signal: Signal
    power: float = 1.0
    conflict: tuple[float, float] = (0.0, 0.0)
    fresh: bool = False


@dataclass(slots=True)
class Planner:
    """Walks the stages of a reading, and collects wishes.

    Attributes:
        reading: Of the network with plain weights in it.
        start: Variance that the first layer is given.
        bias_variance: sigma_b^2 of all layers that are drawn.
        fixed: Names of weights whose variance is decided, and how: tied ones, and frozen ones.
        untouched: Names of weights that stay as they are, and why.
        louder: Factor of the input's mean square: what would a sample of that size do?
        growth: Logarithm of what the weights and all between them do to the gradient's mean
            square, over the whole network.
    """

    reading: Reading
    start: float
    bias_variance: float
    fixed: Mapping[str, tuple[float, bool]]
    untouched: Mapping[str, str]
    louder: float = 1.0
    growth: float = 0.0
    wishes: list[Wish] = field(default_factory=list)
    factors: list[Factor] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def plan(self) -> None:
        """Walk the whole network."""
        batches = any(isinstance(s.layer, BatchNorm) for s in flat(self.reading.stages))
        square = self.reading.input_square
        shared = 0.0 if batches else math.nan
        signal = Signal(mean_square=self.louder * (square if square else 1.0), shared=shared)
        self._chain(self.reading.stages, State(signal, fresh=True))

    def _chain(self, chain: Sequence[Stage], state: State, closing: int = 0) -> State:
        """Walk layers in a row; ``closing`` counts the branches that share their stream."""
        last = last_weights(chain) if closing else -1
        factor, place = last_factor(chain)
        if closing and place > last >= 0 and factor is not None:
            self.factors.append(Factor(tensor=factor, square=1 / closing, branches=closing))
        for at, stage in enumerate(chain):
            if stage.weights is not None:
                share = closing if at == last and place < last else 0
                state = self._weights(chain, at, state, share)
            elif is_sum(self.reading, stage) and has_weights(stage):
                state = self._sum(stage, state, sums_in(self.reading, chain))
            elif has_weights(stage):
                self._leave_branches(stage)
                state = self._measured(chain, at, state)
            else:
                state = self._between(chain, at, state)
        return state

    # ------------------------------------------------------------ weights

    def _weights(self, chain: Sequence[Stage], at: int, state: State, share: int) -> State:
        stage = chain[at]
        weights = stage.weights
        assert weights is not None
        follows = between(chain, at)
        if uncovered_weights(stage):
            why = stage.layer.why if isinstance(stage.layer, NotCovered) else ""
            self._wish(weights, follows, None, f"left as it was: {why}")
            return self._measured(chain, at, state)
        inside = stage.layer.inside if isinstance(stage.layer, Convolution) else 1.0
        try:
            variance, centred, note = self._wanted(chain, at, state, inside)
        except NotCoveredError as error:
            variance, centred, note = None, False, f"left as it was: {error}"
        if share and variance is not None:
            variance /= share
            note = _joined(note, f"closes one of {share} branches: 1/sqrt({share}) of its gain")
        if weights.name in self.untouched:
            variance, note = None, self.untouched[weights.name]
        self._wish(weights, follows, variance, note, centred)
        used, centred = self.fixed.get(
            weights.name, (weights.variance if variance is None else variance, centred)
        )
        if not state.fresh and 0 < used * inside * state.power < math.inf:
            self.growth += math.log(used * inside * state.power)
        return State(self._after(stage, state.signal, used * inside, centred))

    def _wanted(
        self, chain: Sequence[Stage], at: int, state: State, inside: float
    ) -> tuple[float, bool, str]:
        """Return sigma_w^2, whether rows are centred, and why.

        Raises:
            NotCoveredError: No gain keeps the gradient.
        """
        weights = chain[at].weights
        assert weights is not None
        if normalised_after(chain, at):
            return 1.0, False, NORMALISED
        if state.fresh:
            room = self.start - self.bias_variance
            if room <= 0:
                raise NotCoveredError(
                    f"a first layer of variance {self.start:g}",
                    f"its biases alone have {self.bias_variance:g}",
                    "take a larger variance",
                )
            note = f"no activation before it: its outputs get variance {self.start:.3g}"
            return room * self.louder / (inside * state.signal.mean_square), False, note
        if not (0 < state.power < math.inf):
            raise NotCoveredError(
                f"a gain after {between(chain, at)} that keeps the gradient",
                "nothing of it passes there",
                "take another activation",
            )
        plain, centred = map(abs, state.conflict)
        centres = (
            not self.bias_variance
            and centred < _CLEARLY * plain
            and centrable(weights.tensor, weights.units_first)
        )
        return 1 / (inside * state.power), centres, CENTRED if centres else ""

    def _wish(
        self,
        weights: Weights,
        follows: str,
        variance: float | None,
        note: str,
        centred: bool = False,
    ) -> None:
        self.wishes.append(
            Wish(weights=weights, follows=follows, variance=variance, centred=centred, note=note)
        )

    def _after(self, stage: Stage, signal: Signal, variance: float, centred: bool) -> Signal:
        width = stage.weights.width if stage.weights else None
        seen = replace(signal, mean_square=signal.variance, mean=0.0) if centred else signal
        dense = Dense(weight_variance=variance, bias_variance=self.bias_variance, width=width)
        return pass_layer(dense, seen).after

    # ------------------------------------------------------------ what stands between

    def _between(self, chain: Sequence[Stage], at: int, state: State) -> State:
        layer, signal = chain[at].layer, state.signal
        if isinstance(layer, Activate):
            # The sum of a stream and its branches counts as Gaussian: it is one of many terms.
            signal = replace(signal, gaussian=True)
        try:
            passage = None if isinstance(layer, NotCovered) else pass_layer(layer, signal)
        except NotCoveredError:
            passage = None
        if passage is None:
            return self._measured(chain, at, state)
        power = state.power * passage.power
        if isinstance(layer, NORMS):
            # What a norm divides by is the weights' own scale, and they are not asked to undo it.
            power = passage.after.mean_square
            self._tell_batch_norm(chain, at)
        conflict = _conflict(layer, signal.mean_square)
        return State(passage.after, power, conflict or state.conflict, state.fresh)

    def _tell_batch_norm(self, chain: Sequence[Stage], at: int) -> None:
        following = chain[at + 1].layer if at + 1 < len(chain) else None
        if not isinstance(chain[at].layer, BatchNorm) or not isinstance(following, Activate):
            return
        factor = math.sqrt(batch_norm_factor(following.activation))
        remark = (
            f"Batch norm before {name_of(chain[at + 1])} multiplies the gradient's norm by "
            f"{factor:.3g} a layer where no residual sum goes round it; no weights change that."
        )
        if remark not in self.remarks:
            self.remarks.append(remark)

    def _measured(self, chain: Sequence[Stage], at: int, state: State) -> State:
        """Take what theory has no formula for as it was measured."""
        stage = chain[at]
        before = chain[at - 1].output if at else None
        output = stage.output
        if output is None:
            return State(replace(state.signal, gaussian=False), state.power, fresh=state.fresh)
        scale = state.signal.mean_square / before.mean_square if before else 1.0
        scale = scale if 0 < scale < math.inf else 1.0
        signal = Signal(
            mean_square=output.mean_square * scale,
            mean=output.mean * math.sqrt(scale),
            shared=state.signal.shared,
        )
        if stage.weights is not None:
            return State(signal)
        decades = self.reading.level(chain[at - 1].node) - self.reading.level(stage.node)
        power = state.power * 10 ** (2 * decades) if at and math.isfinite(decades) else state.power
        return State(signal, power, state.conflict, state.fresh)

    # ------------------------------------------------------------ where ways meet

    def _sum(self, stage: Stage, state: State, branches: int) -> State:
        both = ways(stage)
        branch = self._chain(both.branch, state, closing=branches)
        stream = self._chain(both.stream, state)
        signal = Signal(
            mean_square=stream.signal.mean_square + branch.signal.mean_square,
            mean=stream.signal.mean + branch.signal.mean,
            shared=stream.signal.shared + branch.signal.shared,
            width=branch.signal.width,
        )
        return State(signal)

    def _leave_branches(self, stage: Stage) -> None:
        why = f"left as it was: its output meets another in {name_of(stage)}"
        for branch in stage.branches:
            for at, inner in enumerate(branch):
                if inner.weights is not None:
                    self._wish(inner.weights, between(branch, at), None, why)
                elif has_weights(inner):
                    self._leave_branches(inner)


def _conflict(layer: Layer, q: float) -> tuple[float, float] | None:
    r"""Logarithm of :math:`q'/q` where the gradient is kept: independent rows, centred rows."""
    if not isinstance(layer, Activate):
        return None
    phi = find_activation(layer.activation)
    share = q * moment(phi, "slope2", q)
    square, variance = moment(phi, "square", q), output_variance(phi, q)
    if not (share > 0 and square > 0 and variance > 0):
        return (0.0, 0.0)
    return math.log(square / share), math.log(variance / share)


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
