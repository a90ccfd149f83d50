"""The catalogue of activations, by the names that people and torch give them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from headwater.errors import UnknownActivationError, UsageError
from headwater.theory import gated, rectifying, saturating
from headwater.theory.activations import Activation

CATALOGUE: Mapping[str, Callable[..., Activation]] = {
    "identity": rectifying.identity,
    "sigmoid": saturating.sigmoid,
    "tanh": saturating.tanh,
    "lecun_tanh": saturating.lecun_tanh,
    "erf": saturating.erf,
    "erf_unit": saturating.erf_unit,
    "softsign": saturating.softsign,
    "hardtanh": rectifying.hardtanh,
    "hardsigmoid": saturating.hardsigmoid,
    "relu": rectifying.relu,
    "leaky_relu": rectifying.leaky_relu,
    "prelu": rectifying.prelu,
    "rrelu": rectifying.rrelu,
    "relu6": rectifying.relu6,
    "relu2": rectifying.relu2,
    "elu": rectifying.elu,
    "selu": rectifying.selu,
    "celu": rectifying.celu,
    "gelu": gated.gelu,
    "gelu_tanh": gated.gelu_tanh,
    "quick_gelu": gated.quick_gelu,
    "silu": gated.silu,
    "mish": gated.mish,
    "hardswish": gated.hardswish,
    "softplus": saturating.softplus,
    "logsigmoid": saturating.logsigmoid,
    "tanhshrink": saturating.tanhshrink,
    "sin": saturating.sin,
}

# What torch's calculate_gain, its functional API, transformers and papers call the same things.
ALIASES: Mapping[str, str] = {
    "linear": "identity",
    "conv1d": "identity",
    "conv2d": "identity",
    "conv3d": "identity",
    "swish": "silu",
    "hard_swish": "hardswish",
    "hard_tanh": "hardtanh",
    "hard_sigmoid": "hardsigmoid",
    "log_sigmoid": "logsigmoid",
    "leakyrelu": "leaky_relu",
    "gelu_new": "gelu_tanh",
    "geluapproximate": "gelu_tanh",
    "relu_squared": "relu2",
    "squared_relu": "relu2",
    "sine": "sin",
    "logistic": "sigmoid",
    "none": "identity",
}


def find_activation(name: str | Activation) -> Activation:
    """Return the activation of a name, parameters in brackets as in ``leaky_relu(0.2)``.

    Raises:
        UnknownActivationError: There is none of that name; the message names the nearest.
        UsageError: The parameters do not fit.

    Example:
        >>> find_activation("leaky_relu(0.2)").slope_formula
        '1 if x > 0 else 0.2'
        >>> find_activation("Swish") is find_activation("silu")
        True
    """
    if isinstance(name, Activation):
        return name
    return _built(*parse_activation(name))


def parse_activation(name: str) -> tuple[str, tuple[str, ...]]:
    """Return the catalogue's word for a name, and the parameters in its brackets as written.

    Raises:
        UnknownActivationError: There is none of that name; the message names the nearest.

    Example:
        >>> parse_activation("Leaky-ReLU(0.2)")
        ('leaky_relu', ('0.2',))
    """
    match = re.fullmatch(r"\s*([\w\s-]+?)\s*(?:\(([^()]*)\))?\s*", name)
    word = re.sub(r"[\s-]+", "_", match[1]).lower() if match else name
    word = ALIASES.get(word, word)
    if match is None or word not in CATALOGUE:
        raise UnknownActivationError(name, tuple(CATALOGUE))
    return word, tuple(part.strip() for part in (match[2] or "").split(",") if part.strip())


@lru_cache(maxsize=1024)
def _built(word: str, parts: tuple[str, ...]) -> Activation:
    factory = CATALOGUE[word]
    takes = ", ".join(map(str, inspect.signature(factory).parameters.values())) or "nothing"
    try:
        return factory(*map(_value, parts))
    except (TypeError, ValueError) as error:
        got = ", ".join(parts)
        raise UsageError(f"{word} got ({got}) in its brackets; it takes {takes}") from error


def _value(text: str) -> float | str:
    if text in {"train", "eval"}:
        return text
    return float(text.partition("=")[2] or text)
