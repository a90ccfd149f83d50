"""Clipping and the optimisers' steps for sixteen networks, compiled; torch's formulas."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from headwater.lab.compiler import compiled
from headwater.lab.lanes import if_greater, load, memory, number, root, splat, store, widened
from headwater.lab.optimisers import Clip, Optimiser

SGD, ADAM, ADAMW, RMSPROP = range(4)
NO_CLIP, CLIP_NORM, CLIP_TENSOR, CLIP_VALUE = range(4)
NORM_EPS = 1e-6
"""What ``clip_grad_norm_`` adds to the norm it divides by."""


class Rule(NamedTuple):
    """An optimiser and a clipping, as the compiled code reads them."""

    kind: int
    momentum: float
    nesterov: bool
    decay: float
    fast: float
    slow: float
    alpha: float
    eps: float
    clip: int
    limit: float


class Course(NamedTuple):
    """An optimiser at work: two moments a parameter, the lanes' rates, where each tensor ends.

    Arrays in Python, memories in compiled code.
    """

    rule: Rule
    size: int
    tensors: int
    first: Any
    second: Any
    rates: Any
    ends: Any


def rule_of(optimiser: Optimiser, clip: Clip | None) -> Rule:
    """Return the compiled code's view of the settings."""
    kinds = {"sgd": SGD, "adam": ADAM, "adamw": ADAMW, "rmsprop": RMSPROP}
    clips = {"norm": CLIP_NORM, "norm_per_tensor": CLIP_TENSOR, "value": CLIP_VALUE}
    return Rule(
        kind=kinds[optimiser.kind],
        momentum=float(optimiser.momentum),
        nesterov=bool(optimiser.nesterov),
        decay=float(optimiser.weight_decay),
        fast=float(optimiser.betas[0]),
        slow=float(optimiser.betas[1]),
        alpha=float(optimiser.alpha),
        eps=float(optimiser.eps),
        clip=NO_CLIP if clip is None else clips[clip.kind],
        limit=0.0 if clip is None else float(clip.limit),
    )


@compiled
def located_course(c: Course) -> Course:
    """Return a course of arrays as one of memories."""
    return Course(
        c.rule,
        c.size,
        c.tensors,
        memory(c.first),
        memory(c.second),
        memory(c.rates),
        memory(c.ends),
    )


@compiled
def clear(gradient: Any, count: int) -> None:
    """Set the first entries to 0."""
    zero = splat(0.0, load(gradient, 0))
    for at in range(count):
        store(gradient, at, zero)


@compiled
def squared_norm(gradient: Any, start: int, stop: int) -> Any:
    """Return the sum of squares of some entries, in float64."""
    total = widened(splat(0.0, load(gradient, 0)))
    for at in range(start, stop):
        entry = widened(load(gradient, at))
        total += entry * entry
    return total


@compiled
def clip(course: Course, gradient: Any) -> None:
    """Clip the gradient in place."""
    rule = course.rule
    if rule.clip == CLIP_VALUE:
        for at in range(course.size):
            entry = load(gradient, at)
            high, low = splat(rule.limit, entry), splat(-rule.limit, entry)
            entry = if_greater(entry, high, high, if_greater(low, entry, low, entry))
            store(gradient, at, entry)
    elif rule.clip == CLIP_NORM:
        _scale_down(gradient, 0, course.size, rule.limit)
    elif rule.clip == CLIP_TENSOR:
        start = 0
        for tensor in range(course.tensors):
            end = number(course.ends, tensor)
            _scale_down(gradient, start, end, rule.limit)
            start = end


@compiled
def _scale_down(gradient: Any, start: int, stop: int, limit: float) -> None:
    # In the network's own format, as torch: what overflows there overflows here.
    total = splat(0.0, load(gradient, 0))
    for at in range(start, stop):
        total += load(gradient, at) * load(gradient, at)
    factor = limit / (root(total) + NORM_EPS)
    factor = if_greater(factor, 1.0, splat(1.0, factor), factor)
    for at in range(start, stop):
        store(gradient, at, load(gradient, at) * factor)


@compiled
def update(course: Course, theta: Any, gradient: Any, step: int) -> Any:
    """Take the step of this number, counted from 1.

    Return a value that is 0 in the lanes whose parameters are all finite, NaN in the others.
    """
    rule, rate = course.rule, load(course.rates, 0)
    unsound = splat(0.0, rate)
    bias1, bias2 = 1.0, 1.0
    if rule.kind == ADAM or rule.kind == ADAMW:  # noqa: PLR1714, as numba compiles no sets
        bias1, bias2 = 1.0 - rule.fast**step, math.sqrt(1.0 - rule.slow**step)
    for at in range(course.size):
        weight, entry = load(theta, at), load(gradient, at)
        if rule.kind == ADAMW:
            weight = weight * (1.0 - rate * rule.decay)
        elif rule.decay != 0.0:
            entry = entry + rule.decay * weight
        if rule.kind == SGD:
            weight = weight - rate * _gathered(rule, course.first, at, entry)
        elif rule.kind == RMSPROP:
            weight = weight - rate * _evened(course, at, entry)
        else:
            weight = weight - _adapted(course, at, entry, (bias1, bias2))
        store(theta, at, weight)
        unsound = unsound + weight * 0.0
    return unsound


@compiled
def _gathered(rule: Rule, first: Any, at: int, entry: Any) -> Any:
    if rule.momentum == 0.0:
        return entry
    gathered = rule.momentum * load(first, at) + entry
    store(first, at, gathered)
    if rule.nesterov:
        return entry + rule.momentum * gathered
    return gathered


@compiled
def _adapted(course: Course, at: int, entry: Any, biases: tuple[float, float]) -> Any:
    rule = course.rule
    first = load(course.first, at)
    first = first + (1.0 - rule.fast) * (entry - first)
    second = rule.slow * load(course.second, at) + (1.0 - rule.slow) * (entry * entry)
    store(course.first, at, first)
    store(course.second, at, second)
    return load(course.rates, 0) / biases[0] * (first / (root(second) / biases[1] + rule.eps))


@compiled
def _evened(course: Course, at: int, entry: Any) -> Any:
    rule = course.rule
    second = rule.alpha * load(course.second, at) + (1.0 - rule.alpha) * (entry * entry)
    store(course.second, at, second)
    change = entry / (root(second) + rule.eps)
    if rule.momentum == 0.0:
        return change
    change = rule.momentum * load(course.first, at) + change
    store(course.first, at, change)
    return change
