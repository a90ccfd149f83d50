"""95 % intervals of what is estimated from seeds: shares, medians, means."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom, binomtest, t

from headwater.lab.rows import Array

LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its 95 % interval, and how many seeds it rests on.

    Example:
        >>> str(Estimate(value=0.09, low=0.048, high=0.162, count=100))
        '0.09 [0.048, 0.162] of 100'
    """

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        """Say it as ``value [low, high] of count``."""
        if self.low == self.high:
            return f"{self.value:.4g}"
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}] of {self.count}"


def share(hits: Array) -> Estimate:
    """Share of the true values, with Wilson's interval.

    Source: Wilson (1927), Probable inference, JASA 22:209; it holds its level near 0 and 1.

    Example:
        >>> str(share(np.array([True] * 9 + [False])))
        '0.9 [0.596, 0.982] of 10'
    """
    count, found = len(hits), int(np.sum(hits))
    if count == 0:
        return Estimate(value=math.nan, low=0.0, high=1.0, count=0)
    ends = binomtest(found, count).proportion_ci(LEVEL, method="wilson")
    return Estimate(
        value=found / count, low=max(0.0, ends.low), high=min(1.0, ends.high), count=count
    )


def median(values: Array) -> Estimate:
    """Median, with the interval between two order statistics; it assumes nothing else.

    Ranks j and n + 1 - j, j the largest with P(Bin(n, 1/2) < j) at most 2.5 %. Below six values
    there is none: the interval is the whole line.

    Example:
        >>> str(median(np.arange(1.0, 12.0)))
        '6 [2, 10] of 11'
        >>> median(np.array([1.0, 2.0])).high
        inf
    """
    count = len(values)
    if count == 0:
        return Estimate(value=math.nan, low=-math.inf, high=math.inf, count=0)
    ordered = np.sort(values)
    # np.median of two infinities is their difference, which is not a number.
    middle = ordered[(count - 1) // 2], ordered[count // 2]
    value = float(middle[0]) if middle[0] == middle[1] else float(np.mean(middle))
    rank = int(binom.ppf((1 - LEVEL) / 2, count, 0.5))
    if binom.cdf(rank - 1, count, 0.5) > (1 - LEVEL) / 2 or rank == 0:
        return Estimate(value=value, low=-math.inf, high=math.inf, count=count)
    return Estimate(
        value=value, low=float(ordered[rank - 1]), high=float(ordered[count - rank]), count=count
    )


def mean(values: Array) -> Estimate:
    """Mean, with Student's interval.

    Assumes that the mean of so many seeds is nearly normal.

    Example:
        >>> str(mean(np.array([1.0, 2.0, 3.0])))
        '2 [-0.484, 4.48] of 3'
    """
    count = len(values)
    if count < 2:
        value = float(values[0]) if count else math.nan
        return Estimate(value=value, low=-math.inf, high=math.inf, count=count)
    half = float(t.ppf((1 + LEVEL) / 2, count - 1) * np.std(values, ddof=1) / math.sqrt(count))
    value = float(np.mean(values))
    return Estimate(value=value, low=value - half, high=value + half, count=count)
