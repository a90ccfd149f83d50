"""The optimisers and clippings of the laboratory: their settings, with torch's meanings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from headwater.errors import EnsembleError

OptimiserKind = Literal["sgd", "adam", "adamw", "rmsprop"]
ClipKind = Literal["norm", "norm_per_tensor", "value"]


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """An optimiser with torch's formulas; made by ``sgd``, ``adam``, ``adamw``, ``rmsprop``."""

    kind: OptimiserKind
    learning_rate: float
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    alpha: float = 0.99
    eps: float = 1e-8

    def __post_init__(self) -> None:
        if not self.learning_rate >= 0:
            raise EnsembleError("learning_rate", self.learning_rate, "a number of at least 0")
        if self.nesterov and not self.momentum > 0:
            raise EnsembleError("nesterov", self.nesterov, "a momentum above 0 beside it")
        if not self.eps > 0:
            raise EnsembleError("eps", self.eps, "a number above 0")


def sgd(
    learning_rate: float,
    *,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> Optimiser:
    """Return ``torch.optim.SGD``."""
    return Optimiser(
        kind="sgd",
        learning_rate=learning_rate,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
    )


def adam(
    learning_rate: float = 1e-3,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> Optimiser:
    """Return ``torch.optim.Adam``: weight decay joins the gradient."""
    return Optimiser(
        kind="adam", learning_rate=learning_rate, betas=betas, eps=eps, weight_decay=weight_decay
    )


def adamw(
    learning_rate: float = 1e-3,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.01,
) -> Optimiser:
    """Return ``torch.optim.AdamW``: weight decay shrinks the weights themselves."""
    return Optimiser(
        kind="adamw", learning_rate=learning_rate, betas=betas, eps=eps, weight_decay=weight_decay
    )


def rmsprop(
    learning_rate: float = 1e-2,
    *,
    alpha: float = 0.99,
    eps: float = 1e-8,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> Optimiser:
    """Return ``torch.optim.RMSprop``, not centred."""
    return Optimiser(
        kind="rmsprop",
        learning_rate=learning_rate,
        alpha=alpha,
        eps=eps,
        momentum=momentum,
        weight_decay=weight_decay,
    )


@dataclass(frozen=True, kw_only=True)
class Clip:
    """What is done to a gradient that is too large, before the optimiser sees it.

    ``norm``: all tensors together by ``clip_grad_norm_``; ``norm_per_tensor``: each weight matrix
    and bias by itself (what Keras 3 calls ``clipnorm``); ``value``: each entry by
    ``clip_grad_value_``.
    """

    kind: ClipKind
    limit: float

    def __post_init__(self) -> None:
        if self.kind not in {"norm", "norm_per_tensor", "value"}:
            raise EnsembleError("clip", self.kind, "'norm', 'norm_per_tensor' or 'value'")
        if not self.limit > 0:
            raise EnsembleError("clip's limit", self.limit, "a number above 0")
