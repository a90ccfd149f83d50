"""Which activations are saturated or dead, by site, over the judged samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from headwater.rules.facts import Facts
from headwater.rules.passes import MANY_CALLS, Bools, Floats, Flow, Ints, Pass
from headwater.rules.signal import SURE_SHARE
from headwater.rules.sizes import oversized_weights
from headwater.rules.wording import where

if TYPE_CHECKING:
    from headwater.records import Site, Where

BOUNDED = frozenset({"Sigmoid", "Tanh", "Hardsigmoid", "Softsign", "Atan", "Erf"})
"""Activations that saturate on both sides; ReLU and its relatives are flat on one by design."""

RECTIFIERS = frozenset({"Relu", "Threshold", "ClampMin"})
"""Activations whose units can die: exactly zero derivative for every input."""

_RECURRENT = frozenset({"RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell"})
_PRODUCTS = frozenset({"Mul", "Addcmul", "Lerp"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """One activation layer over the judged passes of one flow.

    A layer is one call of a site; of a loop through time, all calls of it. ``saturated`` and the
    rest are one value a pass. ``weights_above`` counts the layers with weights between it and the
    loss, so the largest stands nearest to the input. ``gate`` says that it scales another signal,
    as in LSTM, GRU, squeeze-and-excitation; so does the state of a loop, ``loops``, if it is no
    part of a cell: it remembers by saturating.
    """

    site: int
    call: int
    flow: Flow
    rows: Ints
    gate: bool
    loops: bool
    weights_above: float
    units: float
    saturated: Floats
    dead: Floats
    dead_recent: Floats
    dead_run: Floats
    mean: Floats
    variance: Floats
    first_direction: Floats


@dataclass(frozen=True, kw_only=True)
class UnitLimits:
    """How many saturated or dead units are too many."""

    # Two circles, five layers of five tanh units: the worst layer has 0.41 to 0.94 of its entries
    # saturated with U[0, 1] weights (loss stands still), at most 0.23 with Xavier (it falls).
    saturated: float = 0.3
    # Where the loss does not tell whether the network learns (short run, GAN).
    saturated_unknown: float = 0.8
    # Where it falls all the same: units that decide are healthy up to here. In the corpus's tune
    # half no healthy layer that is no gate has more than 0.40; weights five times too large or
    # far from zero mean leave 0.93 and more, and two thirds of what could be learnt unlearnt.
    saturated_learning: float = 0.9
    # The same where weights were drawn too large and the loss has not left its start behind: a
    # tanh network in its chaotic phase, no classifier that made up its mind. Healthy as above.
    saturated_oversized: float = 0.5
    # Gates are meant to open and close.
    saturated_gate: float = 0.95
    # Two circles, ReLU, He initialisation: 0.16 of 25 units are dead at the start, up to 0.36 in
    # runs that learn, whose lower bound is 0.20; at rate 0.1, 0.45 and few runs learn.
    dead: float = 0.25
    # One layer, or all where the loss does not tell: more dead than alive beyond doubt.
    dead_unknown: float = 0.5
    # Lower bound of a wholly dead layer of three units; with fewer, chance kills a layer.
    dead_layer: float = 0.4


LIMITS = UnitLimits()


def bounded_layers(facts: Facts) -> tuple[Layer, ...]:
    """Return the hidden activations that can saturate, those nearest to the loss first."""
    return tuple(_layers(facts, _is_bounded))


def rectified_layers(facts: Facts) -> tuple[Layer, ...]:
    """Return the hidden activations whose units can die, those nearest to the loss first."""
    return tuple(_layers(facts, _is_rectifier))


def hidden_layers(facts: Facts) -> tuple[Layer, ...]:
    """Return all hidden activations, those nearest to the loss first."""
    return tuple(_layers(facts, lambda _facts, _site: True))


def layer_place(facts: Facts, layer: Layer) -> Where:
    """Return where a layer stands; a functional activation takes the name of what feeds it."""
    at = where(facts.sites[layer.site])
    modules = {facts.parameters[index].module for index in feeding(facts, layer)[0]}
    inside = {
        module for module in modules if module.startswith(f"{at.module}." if at.module else "")
    }
    return replace(at, module=inside.pop()) if len(inside) == 1 else at


def wilson_low(share: float, number: float, z: float = 1.96) -> float:
    """Return the lower end of Wilson's interval for a share seen in ``number`` units.

    Source:
        Wilson (1927), Probable inference, the law of succession, and statistical inference,
        Journal of the American Statistical Association 22, 209-212.

    Example:
        >>> round(wilson_low(0.4, 5), 2), round(wilson_low(0.4, 500), 2), wilson_low(0.0, 5)
        (0.12, 0.36, 0.0)
    """
    if number <= 0:
        return 0.0
    middle = share + z * z / (2 * number)
    half = z * np.sqrt(share * (1 - share) / number + z * z / (4 * number * number))
    return max(0.0, float((middle - half) / (1 + z * z / number)))


def saturation_limit(facts: Facts) -> float:
    """Return the saturated share from which a layer that is no gate is too saturated."""
    if facts.trend.state == "fell":
        oversized = bool(oversized_weights(facts)) and not facts.trend.made_up_for
        return LIMITS.saturated_oversized if oversized else LIMITS.saturated_learning
    told = facts.trend.stalled or facts.trend.state == "rose"
    return LIMITS.saturated if told else LIMITS.saturated_unknown


def saturated_layers(facts: Facts, layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Return the layers too saturated in most samples and the newest, the worst first."""
    usual = saturation_limit(facts)
    found = [
        layer
        for layer in layers
        if mostly_over(
            layer.saturated, LIMITS.saturated_gate if meant_to_shut(facts, layer) else usual
        )
    ]
    return tuple(sorted(found, key=lambda layer: -layer.saturated[-1]))


def meant_to_shut(facts: Facts, layer: Layer) -> bool:
    """Say whether a layer is a gate, or a loop's own activation that remembers by saturating.

    A loop whose weights were drawn too large saturates whatever it is to remember.
    """
    return layer.gate and not (layer.loops and bool(oversized_weights(facts)))


def dead_layers(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Return the layers of which every unit was dead in each of the last three samples."""
    return tuple(
        layer
        for layer in layers
        if layer.dead_recent[-1] == 1 and wilson_low(1.0, layer.units) >= LIMITS.dead_layer
    )


def pooled_dead(layers: Sequence[Layer]) -> tuple[float, float]:
    """Return the share of all units dead in each of the last three samples, and their number."""
    known = [layer for layer in layers if layer.dead_recent[-1] >= 0 and layer.units > 0]
    units = sum(layer.units for layer in known)
    dead = sum(layer.units * float(layer.dead_recent[-1]) for layer in known)
    return (dead / units if units else 0.0), units


def too_many_dead(facts: Facts, layers: Sequence[Layer]) -> bool:
    """Say whether the share of dead units over all layers is too high beyond doubt."""
    share, units = pooled_dead(layers)
    if facts.trend.state == "fell":
        return False
    limit = LIMITS.dead if facts.trend.stalled else LIMITS.dead_unknown
    return wilson_low(share, units) >= limit


def mostly_over(values: Floats, limit: float) -> bool:
    """Say whether values are at or over a limit in most samples and in the newest."""
    known = values[~np.isnan(values)]
    if not len(known):
        return False
    over = known >= limit
    return bool(over.mean() >= SURE_SHARE and over[-1])


def feeding(facts: Facts, layer: Layer) -> tuple[list[int], list[int]]:
    """Return the matrices and the vectors of the operation that feeds an activation layer."""
    one = layer.flow.newest
    weights = one.layers & (one.kind == "weights")
    owner = one.nearest(weights)[one.leaves]
    activation = one.nearest(one.kind == "activation")
    mine = (owner >= 0) & np.isin(activation[owner], layer.rows)
    found = one.parameter[one.leaves[mine]].tolist()
    shaped = [index for index in found if len(facts.parameters[index].shape) > 1]
    return shaped, [index for index in found if index not in shaped]


def _is_bounded(facts: Facts, site: Site) -> bool:
    # relu6 is a Hardtanh to autograd; only a module's name tells the bounded one from it.
    return site.operation in BOUNDED or (
        site.operation == "Hardtanh" and facts.module_type(site.module) == "Hardtanh"
    )


def _is_rectifier(_facts: Facts, site: Site) -> bool:
    return site.operation in RECTIFIERS


def _layers(facts: Facts, wanted: Callable[[Facts, Site], bool]) -> Iterator[Layer]:
    for flow in facts.flowing:
        hidden = _hidden(facts, flow.newest)
        found: list[Layer] = []
        for site in np.unique(flow.newest.site[flow.newest.kind == "activation"]).tolist():
            if wanted(facts, facts.sites[site]):
                found += _of_site(facts, flow, site, hidden)
        yield from sorted(found, key=lambda layer: layer.weights_above)


def _of_site(facts: Facts, flow: Flow, site: int, hidden: Bools) -> Iterator[Layer]:
    rows = [np.flatnonzero(one.site == site) for one in flow.passes]
    looped = len(rows[-1]) >= MANY_CALLS and flow.newest.recurrent
    for call in [-1] if looped else np.unique(flow.newest.call[rows[-1]]).tolist():
        chosen = [
            at if looped else at[one.call[at] == call]
            for one, at in zip(flow.passes, rows, strict=True)
        ]
        if hidden[chosen[-1]].all():
            yield _layer(facts, flow, site, call, chosen)


def _layer(facts: Facts, flow: Flow, site: int, call: int, rows: Sequence[Ints]) -> Layer:
    def mean(name: str) -> Floats:
        return np.array(
            [_mean(one.columns[name][at]) for one, at in zip(flow.passes, rows, strict=True)]
        )

    newest = flow.newest
    above = {facts.sites[newest.site[row]].operation for row in newest.parent[rows[-1]] if row >= 0}
    in_cell = facts.module_type(facts.sites[site].module) in _RECURRENT
    return Layer(
        site=site,
        call=call,
        flow=flow,
        rows=rows[-1],
        gate=call < 0 or in_cell or bool(above & _PRODUCTS),
        loops=call < 0 and not in_cell and not above & _PRODUCTS,
        weights_above=float(newest.weights_above[rows[-1]].max()),
        units=_mean(newest.columns["units"][rows[-1]]),
        saturated=mean("saturated"),
        dead=mean("dead"),
        dead_recent=mean("dead_recent"),
        dead_run=mean("dead_run"),
        mean=mean("mean"),
        variance=mean("variance"),
        first_direction=mean("first_direction"),
    )


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan


def _hidden(facts: Facts, one: Pass) -> Bools:
    """Mark the rows with a layer of their own network between them and the loss.

    A converged classifier saturates its output, and a generator's last tanh its pixels, though the
    discriminator stands between that and the loss.
    """
    owner = np.array([facts.root_module(int(site)) for site in one.site])
    hidden = np.zeros(len(owner), dtype=bool)
    for name in np.unique(owner):
        weights = ((one.kind == "weights") & (owner == name)).astype(float)
        hidden |= (owner == name) & (one.over_ancestors(weights, np.add, 0.0) > 0)
    return hidden
