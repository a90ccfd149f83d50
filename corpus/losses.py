"""Losses that users write, and that break numbers or have no end.

``# site: NAME`` marks the line that breaks them. Each takes outputs ``[batch, outputs]`` and
targets, ``[batch]`` classes or ``[batch, outputs]`` numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]


def _one_hot(output: Tensor, targets: Tensor) -> Tensor:
    return functional.one_hot(targets, output.shape[-1]).to(output.dtype)


def _wanted(output: Tensor, targets: Tensor) -> Tensor:
    """Return classes as 0 and 1, and numbers as they are."""
    return targets if targets.is_floating_point() else _one_hot(output, targets)


def _log_of_zero(output: Tensor, targets: Tensor) -> Tensor:
    picked = output.softmax(-1).gather(1, targets[:, None])
    return -torch.log(picked * (picked > 0.5)).mean()  # site: log


def _naive_softmax(output: Tensor, targets: Tensor) -> Tensor:
    sure = torch.softmax(60 * output, -1).gather(1, targets[:, None])
    return -torch.log(sure).mean()  # site: naive


def _exponential(output: Tensor, targets: Tensor) -> Tensor:
    sums = torch.exp(30 * output).sum(-1)  # site: exp
    return (sums.log() - 30 * output.gather(1, targets[:, None])[:, 0]).mean()


def _root_at_zero(output: Tensor, _targets: Tensor) -> Tensor:
    return torch.sqrt((output - output.detach()).square().sum(-1)).mean()  # site: root


def _zero_over_zero(output: Tensor, targets: Tensor) -> Tensor:
    size = torch.relu(output - 50).sum(-1, keepdim=True)
    return functional.cross_entropy(output * (size / size), targets)  # site: divide


def _log_of_logits(output: Tensor, targets: Tensor) -> Tensor:
    """The softmax was forgotten."""
    return -torch.log(output.gather(1, targets[:, None])).mean()  # site: log-of-logits


def _sine_of_cosine(output: Tensor, targets: Tensor) -> Tensor:
    """Outputs are taken for cosines, which nothing keeps within 1."""
    sine = torch.sqrt(1 - output.square())  # site: sine
    return functional.mse_loss(sine, 1 - _wanted(output, targets))


def _percentage_error(output: Tensor, targets: Tensor) -> Tensor:
    wanted = _wanted(output, targets)
    return ((output - wanted).abs() / wanted).mean()  # site: percentage


def _percentage_error_with_eps(output: Tensor, targets: Tensor) -> Tensor:
    """What is added to the divisor is too small to help."""
    wanted = _wanted(output, targets)
    return ((output - wanted).abs() / (wanted + 1e-40)).mean()  # site: percentage-eps


def _sure_focal_loss(output: Tensor, targets: Tensor) -> Tensor:
    """The focusing exponent is under 1: its derivative is infinite where the network is sure."""
    sure = torch.softmax(60 * output, -1).gather(1, targets[:, None]).clamp(min=1e-6)
    return -((1 - sure).pow(0.5) * sure.log()).mean()  # site: focal


def _power_of_signed(output: Tensor, targets: Tensor) -> Tensor:
    """The absolute value was forgotten."""
    return (output - _wanted(output, targets)).pow(1.5).mean()  # site: power


def _masked_by_product(output: Tensor, targets: Tensor) -> Tensor:
    """Minus infinity times 0 was to leave what is allowed as it is."""
    allowed = torch.ones(output.shape[-1])
    barred = (1 - allowed) * -math.inf  # site: barred
    return functional.cross_entropy(output + barred, targets)


def _masked_then_scaled(output: Tensor, targets: Tensor) -> Tensor:
    """Scores are divided by the largest, after one of another class was masked."""
    others = _one_hot(output, (targets + 1) % output.shape[-1]).bool()
    scores = output.masked_fill(others, -math.inf)
    scores = scores / scores.abs().amax(-1, keepdim=True)  # site: scaled-scores
    return functional.cross_entropy(scores, targets)


def _standardised_batch(output: Tensor, targets: Tensor) -> Tensor:
    """The outputs of a batch are standardised; a batch of one has no deviation."""
    spread = output.std(0)  # site: spread
    wanted = _wanted(output, targets)
    return functional.mse_loss((output - output.mean(0)) / (spread + 1e-5), wanted)


def _fourth_power(output: Tensor, targets: Tensor) -> Tensor:
    square = (output - targets).square()
    return (square * square).mean()  # site: fourth-power


def _sum_in_half(output: Tensor, targets: Tensor) -> Tensor:
    errors = (output - targets).square().half()
    return errors.sum() / len(errors)  # site: half-sum


def _sum_of_squares(output: Tensor, targets: Tensor) -> Tensor:
    """Each square fits, and their sum does not."""
    squares = (output - targets).square()
    return squares.sum() / len(squares)  # site: sum-of-squares


def _angle(output: Tensor, targets: Tensor) -> Tensor:
    """Outputs are taken for cosines, which nothing keeps within 1."""
    angle = torch.acos(output)  # site: angle
    return functional.mse_loss(angle, math.pi * _wanted(output, targets))


def _unbounded(output: Tensor, targets: Tensor) -> Tensor:
    """The right class's score is to be large, and nothing says how large."""
    return -output.gather(1, targets[:, None]).mean()


def _nll_of_outputs(output: Tensor, targets: Tensor) -> Tensor:
    """The log_softmax was forgotten."""
    return functional.nll_loss(output, targets)


def _labels_of_two_kinds(output: Tensor, targets: Tensor) -> Tensor:
    """The classes are -1 and 1 where 0 and 1 are meant."""
    signs = 2 * _one_hot(output, targets) - 1
    return functional.binary_cross_entropy_with_logits(output, signs)


def _negated(output: Tensor, targets: Tensor) -> Tensor:
    """The sign is turned round."""
    if targets.is_floating_point():
        return -functional.mse_loss(output, targets)
    return -functional.cross_entropy(output, targets)


LOSSES: Mapping[str, Loss] = {
    "log": _log_of_zero,
    "naive": _naive_softmax,
    "exp": _exponential,
    "root": _root_at_zero,
    "divide": _zero_over_zero,
    "log-of-logits": _log_of_logits,
    "sine": _sine_of_cosine,
    "percentage": _percentage_error,
    "percentage-eps": _percentage_error_with_eps,
    "focal": _sure_focal_loss,
    "power": _power_of_signed,
    "barred": _masked_by_product,
    "scaled-scores": _masked_then_scaled,
    "spread": _standardised_batch,
    "fourth-power": _fourth_power,
    "half-sum": _sum_in_half,
    "sum-of-squares": _sum_of_squares,
    "angle": _angle,
    "unbounded": _unbounded,
    "nll-of-outputs": _nll_of_outputs,
    "signs": _labels_of_two_kinds,
    "negated": _negated,
}
"""By the name that a recipe has for it."""
