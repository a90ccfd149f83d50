"""The bench on which a network is balanced: measured, scaled, measured again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from headwater.checks.feeds import Feed
from headwater.checks.readings import Reading, read
from headwater.checks.weights import Weights
from headwater.errors import UsageError
from headwater.initialisers.blocks import Block, blocks
from headwater.initialisers.changes import Change
from headwater.initialisers.draws import centrable, centre, straighten
from headwater.initialisers.levelling import Levelling

_LOUD = 2.0  # mean square of the louder batch over the given one's
_APART = 0.5  # decades of the gradient's norm that such a batch may differ by
_CLEARLY = 0.5  # of the conflict of rows as they are: what centring must get below to be chosen
_TOGETHER = 10  # tolerances: small misses of one sign multiply over the depth
_MATTERS = 0.7  # a conflict of a factor of two; chance alone makes some of narrow layers
_STEP = 2.0  # decades that one sweep changes a weight by at most
_NOTHING = 1e-3  # relative change of the loss below which a doubled weight has no effect
CENTRED = "rows centred: its inputs are all of one sign, and forward and backward would conflict"
WITHOUT_EFFECT = "left as it was: normalised afterwards, at twice its scale the loss is the same"


@dataclass(slots=True)
class Bench:
    """A network under way to balance.

    Attributes:
        model: Changed in place.
        feed: What it is measured on.
        frozen: Names of parameters that stay as they are.
        sweeps: At most.
        tolerance: Decades that a block may be off.
        first: The blocks of the network as it was.
        active: The parameters that are scaled, by name.
        notes: Of each parameter, why it is what it is.
        before: Of each parameter, sigma_w as it was.
        taken: Sweeps that were needed.
        worst: What a block is off by at most after them, in decades.
        start: Mean square of the first outputs.
        settled: Whether every block is within the tolerance, and all together within ten.
    """

    model: nn.Module
    feed: Feed
    frozen: frozenset[str]
    sweeps: int
    tolerance: float
    first: list[Block] = field(default_factory=list)
    active: dict[str, Tensor] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    before: dict[str, float] = field(default_factory=dict)
    taken: int = 0
    worst: float = math.nan
    start: float = 1.0
    settled: bool = False

    def open(self, first: Sequence[Block]) -> None:
        """Take the blocks of the network as it is, and set aside what cannot be balanced."""
        self.first = self._named(first)
        tables = {id(m.weight) for m in self.model.modules() if isinstance(m, nn.Embedding)}
        for block in self.first:
            why = block.fixed
            if block.name in self.frozen:
                why = "it is frozen"
            elif id(block.tensor) in tables:
                why = "it is an embedding's table, too"
            elif not bool(block.tensor.detach().any()):
                why = "it is all 0: there is nothing to scale"
            self.before.setdefault(block.name, _sigma(block))
            self.notes.setdefault(block.name, [f"left as it was: {why}"] if why else [])
            if not why:
                self.active[block.name] = block.tensor
        for name, uses in _by_name(self.first).items():
            if len(uses) > 1 and name in self.active:
                self.notes[name].append(
                    f"used {len(uses)} times: the geometric mean of their wants"
                )
        self._clear_biases()
        self._set_aside()

    def straighten(self) -> None:
        """Replace each matrix by the nearest semi-orthogonal one of the same mean square."""
        for block in self.first:
            weights = block.stage.weights
            if block.name in self.active and weights is not None:
                with torch.no_grad():
                    block.tensor.copy_(_turned(weights.tensor, weights.units_first, _straight))

    def balance(self, start: float) -> None:
        """Scale until every block is within the tolerance, or the sweeps are over.

        Raises:
            UsageError: The loss is not finite, however the weights are scaled.
        """
        self.start, self.settled = start, False
        self._level()
        for sweep in range(self.sweeps):
            reading = read(self.model, self.feed)
            if not math.isfinite(reading.loss):
                raise UsageError(
                    f"the loss on the batch is {reading.loss}, with every layer's outputs of mean "
                    f"square {start:g}; look for values that are not finite in batch and loss"
                )
            found = self._named(blocks(reading, start))
            if sweep == 0 and self._centre(found):
                self._level()
                continue
            misses = _misses(found, self.active)
            self.taken = sweep
            self.worst = max((abs(miss) for miss in misses.values()), default=0.0)
            unseen = sum(math.isnan(block.miss) for block in found if block.name in self.active)
            together = abs(sum(misses.values()))
            near = self.worst <= self.tolerance and together <= _TOGETHER * self.tolerance
            self.settled = near and not unseen
            if self.settled:
                return
            with torch.no_grad():
                for name, miss in misses.items():
                    self.active[name].mul_(10 ** -max(min(miss, _STEP), -_STEP))

    def falls_apart(self) -> bool:
        """Whether a louder batch has another gradient: then the loudest samples have all of it."""
        inputs = tuple(_louder(each) for each in self.feed.inputs)
        named = {name: _louder(each) for name, each in self.feed.named.items()}
        plain = read(self.model, self.feed)
        loud = read(self.model, replace(self.feed, inputs=inputs, named=named))
        return not abs(self._growth(loud) - self._growth(plain)) <= _APART

    def changes(self) -> list[Change]:
        """Return what was done to each parameter."""
        return [
            Change(
                parameter=name,
                follows=uses[0].follows,
                fan_in=_fan_in(uses[0]),
                before=self.before[name],
                after=_sigma(uses[0]),
                note="; ".join(self.notes[name]),
            )
            for name, uses in _by_name(self.first).items()
        ]

    def remarks(self) -> tuple[str, ...]:
        """Return how far it came."""
        told = {block.name for block in self.first}
        missed = [n for n, p in self.model.named_parameters() if p.dim() > 1 and n not in told]
        if not self.active:
            return ("Nothing was scaled: all weights are left as they were.",)
        reached = "within" if self.settled else "NOT within"
        lines = [
            f"First outputs of mean square {self.start:g}. After {self.taken} sweeps every block "
            f"is {reached} {self.tolerance:g} decades of its aim, and all together within "
            f"{_TOGETHER} times that; the worst is off by {self.worst:.2g}."
        ]
        if missed:
            more = f" and {len(missed) - 6} more" if len(missed) > 6 else ""
            lines.append(f"Left as they were: {', '.join(missed[:6])}{more}.")
        return tuple(lines)

    # ------------------------------------------------------------ steps

    def _named(self, found: Sequence[Block]) -> list[Block]:
        """Name the factors of norms, which come without one."""
        names = {id(parameter): name for name, parameter in self.model.named_parameters()}
        return [
            replace(b, name=b.name or names.get(id(b.tensor), "a norm's factor")) for b in found
        ]

    def _clear_biases(self) -> None:
        """Make biases 0: at a small variance torch's default ones would be most of the signal."""
        parameters = dict(self.model.named_parameters())
        with torch.no_grad():
            for block in self.first:
                name = block.stage.weights.bias if block.stage.weights is not None else ""
                if block.name in self.active and name in parameters and name not in self.frozen:
                    parameters[name].zero_()

    def _level(self) -> None:
        kernels = {name: tensor for name, tensor in self.active.items() if tensor.dim() > 1}
        with torch.random.fork_rng(devices=[]), Levelling(kernels, self.start):
            self.feed.forward(self.model)

    def _set_aside(self) -> None:
        """Leave the weights without effect alone: those that are normalised, if the loss agrees."""
        tried = {b.name: b.tensor for b in self.first if b.normalised and b.name in self.active}
        if not self._changes_loss(tried):
            idle = list(tried)
        else:
            idle = [n for n, tensor in tried.items() if not self._changes_loss({n: tensor})]
        for name in idle:
            del self.active[name]
            self.notes[name] = [WITHOUT_EFFECT]

    def _changes_loss(self, tensors: Mapping[str, Tensor]) -> bool:
        plain = self._loss()
        for tensor in tensors.values():
            tensor.data.mul_(2.0)
        try:
            return not abs(self._loss() - plain) <= _NOTHING * abs(plain)
        finally:
            for tensor in tensors.values():
                tensor.data.mul_(0.5)  # exact: a power of two

    def _loss(self) -> float:
        with torch.random.fork_rng(devices=[]):
            return float(self.feed.forward(self.model)[1].detach())

    def _centre(self, found: Sequence[Block]) -> bool:
        """Centre the rows of weights whose forward and backward gain conflict for their means."""
        centred = False
        for name, uses in _by_name(found).items():
            weights = uses[0].stage.weights
            if name not in self.active or weights is None or CENTRED in self.notes[name]:
                continue
            plain = sum(abs(block.conflict[0]) for block in uses) / len(uses)
            after = sum(abs(block.conflict[1]) for block in uses) / len(uses)
            if plain < _MATTERS or after >= _CLEARLY * plain or not _varies(weights):
                continue
            if uses[0].role != "forward" and centrable(weights.tensor, weights.units_first):
                with torch.no_grad():
                    weights.tensor.copy_(_turned(weights.tensor, weights.units_first, centre))
                self.notes[name].insert(0, CENTRED)
                centred = True
        return centred

    def _growth(self, reading: Reading) -> float:
        found = blocks(reading, self.start)
        return sum(b.gain for b in found if b.role == "backward" and math.isfinite(b.gain))


def _straight(weight: Tensor) -> Tensor:
    square = float(weight.square().sum()) / weight.shape[0]
    return straighten(weight, square)


def _turned(weight: Tensor, units_first: bool, change: Any) -> Tensor:
    """Change a weight with its units first, in float32 at least."""
    wide = weight.detach().to(torch.promote_types(weight.dtype, torch.float32))
    changed: Tensor = change(wide if units_first else wide.T)
    return changed if units_first else changed.T


def _varies(weights: Weights) -> bool:
    """Whether centred rows would still be most of what they were; those of one value are 0."""
    centred = _turned(weights.tensor, weights.units_first, centre)
    return float(centred.square().mean()) > 0.5 * float(weights.tensor.detach().square().mean())


def _misses(found: Sequence[Block], active: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the mean miss of each weight over its uses, in decades, where any was measured."""
    misses: dict[str, float] = {}
    for name, uses in _by_name(found).items():
        known = [block.miss for block in uses if math.isfinite(block.miss)]
        if name in active and known:
            misses[name] = sum(known) / len(known)
    return misses


def _by_name(found: Sequence[Block]) -> dict[str, list[Block]]:
    uses: dict[str, list[Block]] = {}
    for block in found:
        uses.setdefault(block.name, []).append(block)
    return uses


def _fan_in(block: Block) -> int:
    return block.stage.weights.fan_in if block.stage.weights is not None else 1


def _sigma(block: Block) -> float:
    return math.sqrt(_fan_in(block) * float(block.tensor.detach().double().square().mean()))


def _louder(value: Any) -> Any:
    if isinstance(value, Tensor) and value.is_floating_point():
        return value * math.sqrt(_LOUD)
    return value
