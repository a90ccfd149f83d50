"""Random numbers that depend on a member's seed and a counter only, so that all backends agree.

The order of a member's points in an epoch is a function of (seed, epoch, points); RReLU's slope
of an entry is one of (seed, its number). No stream is carried along, so members can be trained
in any order, in any block, on any device.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headwater.lab.network import Floats

Words = NDArray[np.uint64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
EPOCH_STRIDE = np.uint64(0xD1B54A32D192ED03)
FIRST_FACTOR, SECOND_FACTOR = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
HALF = np.uint64(32)
LOW_FACTOR, HIGH_FACTOR = np.uint64(0x85EBCA6B), np.uint64(0xC2B2AE35)
LOW_WORD = np.uint64(0xFFFFFFFF)


def mixed(word: Words) -> Words:
    """Scramble 64-bit words; any two inputs give outputs that look independent.

    Source: Steele, Lea and Flood (2014), Fast splittable pseudorandom number generators, the
    finaliser of SplitMix64 with Stafford's variant 13.
    """
    word = (word ^ (word >> np.uint64(30))) * FIRST_FACTOR
    word = (word ^ (word >> np.uint64(27))) * SECOND_FACTOR
    return word ^ (word >> np.uint64(31))


def mixed32(word: Words) -> Words:
    """Scramble 32-bit words, held in 64 bits. Source: Appleby, MurmurHash3, its finaliser."""
    word = ((word ^ (word >> np.uint64(16))) * LOW_FACTOR) & LOW_WORD
    word = ((word ^ (word >> np.uint64(13))) * HIGH_FACTOR) & LOW_WORD
    return word ^ (word >> np.uint64(16))


def orders(seeds: NDArray[np.integer], epoch: int, points: int) -> NDArray[np.int64]:
    """Return the order in which each member sees its points, ``[members, points]``.

    Fisher and Yates's shuffle, from the last place down.

    Example:
        >>> first = orders(np.array([7, 8]), 0, 500)
        >>> sorted(first[0].tolist()) == list(range(500)), bool((first[0] == first[1]).all())
        (True, False)
    """
    found = np.tile(np.arange(points), (len(seeds), 1))
    places = np.arange(points, dtype=np.uint64)
    with np.errstate(over="ignore"):
        start = mixed(mixed(seeds.astype(np.uint64) + GOLDEN) + np.uint64(epoch) * EPOCH_STRIDE)
        draws = mixed(start[:, None] + places * GOLDEN) >> HALF
    other = ((draws * (places + np.uint64(1))) >> HALF).astype(np.int64)
    rows = np.arange(len(seeds))
    for place in range(points - 1, 0, -1):
        at = other[:, place]
        held = found[rows, at]
        found[rows, at] = found[:, place]
        found[:, place] = held
    return found


def noise_keys(seeds: NDArray[np.integer]) -> NDArray[np.uint32]:
    """Return each member's key to its noise, ``[members]``."""
    keys = mixed(mixed(seeds.astype(np.uint64) + GOLDEN) ^ GOLDEN) >> HALF
    return keys.astype(np.uint32)


def noise(keys: NDArray[np.uint32], counters: Words) -> Floats:
    """Return numbers in [0, 1), ``[members, *counters.shape]``, of 24 bits each.

    Example:
        >>> drawn = noise(noise_keys(np.arange(3)), np.arange(100_000, dtype=np.uint64))
        >>> drawn.shape, bool((abs(drawn.mean(axis=1) - 0.5) < 0.005).all())
        ((3, 100000), True)
    """
    shape = (len(keys), *[1] * counters.ndim)
    words = (keys.reshape(shape).astype(np.uint64) + mixed32(counters)) & LOW_WORD
    return (mixed32(words) >> np.uint64(8)).astype(np.float64) * 2.0**-24


def entry_counters(step: int, units: range, rows: int, *, hidden: int, batch: int) -> Words:
    """Return the numbers of a layer's entries at a step, ``[rows, units]``.

    Counted over steps, then hidden units of all layers (``units`` are this layer's), then rows of
    a whole batch; they start again after 2^32.
    """
    unit = np.arange(units.start, units.stop, dtype=np.uint64)
    row = np.arange(rows, dtype=np.uint64)[:, None]
    number = (np.uint64(step) * np.uint64(hidden) + unit) * np.uint64(batch) + row
    return number & LOW_WORD
