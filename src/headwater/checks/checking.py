"""``hw.check``: a network before training, measured over draws beside its forecast."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
from torch import nn

from headwater.checks.factories import drawn
from headwater.checks.feeds import Feed, feed
from headwater.checks.forecasts import averaged, forecast
from headwater.checks.gains import critical_gains
from headwater.checks.judgement import formats, judge, start_of
from headwater.checks.readings import Reading, read
from headwater.checks.rows import layer_rows
from headwater.errors import UsageError
from headwater.records import Check

Progress = Callable[[int, int], None]
"""Told of the draws done, and of how many there are."""


def check(
    model: nn.Module | Callable[[], Any],
    batch: Any = None,
    loss_fn: Callable[..., Any] | None = None,
    *,
    draws: int = 5,
    progress: Progress | None = None,
) -> Check:
    """Measure a network's signal and gradient before training, and compare them with theory.

    Each draw is one forward and one backward pass under the ledger that `headwater run` keeps.
    The network, its gradients, buffers and random streams are left as they were.

    Args:
        model: A module, measured as it stands; or a function that makes one, called with the
            seeds 0, 1, … It may return (module, batch) or (module, batch, loss function).
        batch: A tensor, a pair of inputs and target, or a mapping of arguments; made up with mean
            0 and mean square 1 where none is given.
        loss_fn: Takes output and target, or the output alone; without one the gradient starts
            in a random direction, as theory assumes.
        draws: How many networks a function is asked for.
        progress: Called after each draw.

    Returns:
        Plain figures; gradients in decades (log10) over that at the network's output.

    Raises:
        UsageError: Something given does not fit.

    Source:
        Forecasts: Poole et al. (2016), arXiv:1606.05340; Schoenholz et al. (2017),
        arXiv:1611.01232; bands to leading order in 1/width (``headwater.theory``).

    Example:
        >>> layers = [m for _ in range(20) for m in (nn.Linear(64, 64), nn.Sigmoid())]
        >>> found = check(nn.Sequential(*layers))
        >>> [finding.code for finding in found.findings], found.formats["float16"] != ""
        (['HW101'], True)
    """
    if draws < 1:
        raise UsageError(f"draws got {draws!r}; it takes a whole number of at least 1")
    name, feeds, readings = "", [], []
    several = not isinstance(model, nn.Module)
    for seed in range(draws if several else 1):
        network, given = (model, ()) if isinstance(model, nn.Module) else drawn(model, seed)
        use = feed(network, *_preferred((batch, loss_fn), given))
        name = type(network).__name__
        feeds.append(use)
        readings.append(_read(network, use, seed))
        if progress is not None:
            progress(seed + 1, draws if several else 1)
    return _checked(name, feeds[0], readings)


def _preferred(asked: tuple[Any, Any], given: tuple[Any, ...]) -> tuple[Any, Any]:
    """What the caller gives comes before what the factory gives."""
    batch, loss = (*given, None, None)[:2]
    return (asked[0] if asked[0] is not None else batch, asked[1] if asked[1] is not None else loss)


def _read(network: nn.Module, use: Feed, seed: int) -> Reading:
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        try:
            return read(network, use)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            what = "the batch that was made up" if use.made_up else "the batch"
            text = " ".join(str(error).split())
            raise UsageError(
                f"{type(network).__name__} failed on {what} {use.shape}: {text}; "
                "give the batch and the loss that it trains with"
            ) from error


def _checked(name: str, use: Feed, readings: Sequence[Reading]) -> Check:
    layers, forecasts = averaged(readings), forecast(readings)
    rows = layer_rows(readings, forecasts)
    outside = next((row for row in reversed(rows) if row.inside is False), None)
    gains = critical_gains(layers)
    fates = formats(readings)
    notes = []
    if any(gain.low_confidence for gain in gains):
        notes.append(
            "a half-stable point is near: draws of the same network differ by 2 to 15 times, and "
            "the forecast deserves low confidence"
        )
    judged = start_of(rows) > -math.inf
    if not judged:
        notes.append(
            "the last layer hands no gradient on (weights that start at 0 do so until they have "
            "moved), so the layers before it cannot be judged yet"
        )
    covered = [forecast.why == "" for forecast in forecasts]
    if not all(covered):
        notes.append(
            f"theory covers {sum(covered)} of {len(covered)} layers; the others are measured only"
        )
    return Check(
        model=name,
        draws=len(readings),
        batch=use.shape,
        made_up=use.made_up,
        loss=median(reading.loss for reading in readings),
        own_loss=use.loss is not None,
        layers=tuple(rows),
        gains=gains,
        formats=fates,
        judged=judged,
        leaves_band=outside.name if outside is not None else "",
        findings=judge(rows, readings, gains, fates),
        notes=tuple(notes),
    )
