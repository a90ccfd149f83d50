"""Blocks of a measured network: what each weight should be multiplied by, as measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from headwater.checks.descriptions import Stage
from headwater.checks.readings import Reading
from headwater.initialisers.chains import (
    between,
    has_weights,
    is_boundary,
    is_sum,
    last_factor,
    last_weights,
    normalised_after,
    sums_in,
    uncovered_weights,
    ways,
)

Role = Literal["forward", "backward", "closing"]


@dataclass(frozen=True, kw_only=True)
class Block:
    """One use of a weight, from its outputs back to the outputs of the weights before it.

    Attributes:
        name: The weight's; empty for the factor of a norm.
        tensor: The parameter.
        stage: Its layer.
        follows: What stands between it and the weights before it.
        role: What it is scaled for: the mean square of its outputs where no gradient comes from
            before it; the gradient's gain; or the share of a residual branch in its sum.
        gain: Of the gradient's norm over the block, in decades; nan where none was measured.
        square: What the mean square of the outputs is over what is wanted, for the other roles.
        growth: Mean square of the outputs over that of the outputs before the block.
        common: Share of the mean in the mean square of its inputs: what centred rows take away.
        normalised: Whether a norm follows.
        branches: Of a closing one, how many share the stream.
        fixed: Why its scale is not to be changed; empty if it is.
    """

    name: str
    tensor: Tensor
    stage: Stage
    follows: str
    role: Role
    gain: float = math.nan
    square: float = math.nan
    growth: float = math.nan
    common: float = 0.0
    normalised: bool = False
    branches: int = 0
    fixed: str = ""

    @property
    def miss(self) -> float:
        """Decades by which the block misses what it is scaled for; nan if not measured."""
        if self.role == "backward":
            return self.gain
        return math.log10(self.square) / 2 if 0 < self.square < math.inf else math.nan

    @property
    def conflict(self) -> tuple[float, float]:
        """Logarithm of forward over backward gain: of rows as they are, and of centred ones."""
        if not (self.growth > 0 and math.isfinite(self.gain)):
            return 0.0, 0.0
        plain = math.log(self.growth) - 2 * math.log(10) * self.gain
        return plain, plain + math.log(max(1 - self.common, 1e-6))


def blocks(reading: Reading, start: float) -> list[Block]:
    """Return the blocks of a network from its input on.

    Args:
        reading: Of the network as it is.
        start: Mean square wanted where a block has no gradient before it.
    """
    return list(_chain(reading, reading.stages, start, None, 0))


def _chain(
    reading: Reading, chain: Sequence[Stage], start: float, stream: float | None, closing: int
) -> Iterator[Block]:
    """Yield the blocks of layers in a row; ``stream`` is the mean square beside a branch."""
    last, (factor, place) = last_weights(chain) if closing else -1, last_factor(chain)
    out = _square(chain[-1]) if chain else None
    share = out * closing / stream if closing and out is not None and stream else math.nan
    for at, stage in enumerate(chain):
        if stage.weights is not None:
            closes = at == last and place < last and math.isfinite(share)
            yield _block(reading, chain, at, start, (closing, share) if closes else None)
        elif is_sum(reading, stage) and has_weights(stage):
            both = ways(stage)
            beside = _square(both.stream[-1] if both.stream else chain[at - 1]) if at else None
            beside = beside if beside is not None else reading.input_square
            count = sums_in(reading, chain)
            yield from _chain(reading, both.stream, start, None, 0)
            yield from _chain(reading, both.branch, start, beside, count)
        else:
            for branch in stage.branches:
                yield from _chain(reading, branch, start, None, 0)
    if closing and place > last >= 0 and factor is not None and math.isfinite(share):
        yield Block(
            name="",
            tensor=factor,
            stage=chain[place],
            follows="norm",
            role="closing",
            square=share,
            branches=closing,
        )


def _block(
    reading: Reading,
    chain: Sequence[Stage],
    at: int,
    start: float,
    closes: tuple[int, float] | None,
) -> Block:
    stage = chain[at]
    weights = stage.weights
    assert weights is not None
    gain, before = _gain(reading, chain, at)
    out, source = _square(stage), chain[at - 1].output if at else None
    common = source.mean**2 / source.mean_square if source and source.mean_square else 0.0
    role: Role = "closing" if closes else "backward" if math.isfinite(gain) else "forward"
    if role == "forward" and before is not None:
        # The gradient has underflowed or overflowed here: nothing to go by until it comes by.
        role, gain = "backward", math.nan
    return Block(
        name=weights.name,
        tensor=weights.tensor,
        stage=stage,
        follows=between(chain, at),
        role=role,
        gain=gain,
        square=closes[1] if closes else (out / start if out is not None else math.nan),
        growth=out / before if out is not None and before else math.nan,
        common=min(common, 1.0) if math.isfinite(common) else 0.0,
        normalised=normalised_after(chain, at),
        branches=closes[0] if closes else 0,
        fixed="a transposed convolution overlaps unevenly" if uncovered_weights(stage) else "",
    )


def _gain(reading: Reading, chain: Sequence[Stage], at: int) -> tuple[float, float | None]:
    """Return the gradient's gain over a block, and the mean square where the block begins."""
    for place in range(at - 1, -1, -1):
        if is_boundary(chain[place]):
            gain = reading.level(chain[place].node) - reading.level(chain[at].node)
            return gain, _square(chain[place])
    row = reading.row(chain[0].node)
    own = row["gain"] if row is not None else None
    if own is None:
        return math.nan, None
    return reading.level(chain[0].node) + float(own) - reading.level(chain[at].node), None


def _square(stage: Stage) -> float | None:
    return stage.output.mean_square if stage.output is not None else None
