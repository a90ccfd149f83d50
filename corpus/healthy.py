"""Trainings with nothing wrong, and the designs that look wrong and are not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from corpus.recipes import Recipe
from corpus.tasks import task

PLAIN = 4
"""Seeds of each base as it stands; seed 0 is the twin of its faulty cases."""

BASES: Mapping[str, Recipe] = {
    "mlp-circles": Recipe(
        task="circles", network="mlp", activation="tanh", weights="xavier", depth=4
    ),
    "mlp-moons": Recipe(task="moons", network="mlp", depth=3),
    "mlp-digits": Recipe(task="digits", network="mlp", width=32),
    "mlp-cancer": Recipe(
        task="cancer", network="mlp", activation="gelu", optimiser="sgd", rate=0.1, momentum=0.9
    ),
    "mlp-wine": Recipe(task="wine", network="mlp", optimiser="sgd", rate=0.05, batch=32),
    "mlp-diabetes": Recipe(task="diabetes", network="mlp", depth=2),
    "mlp-waves": Recipe(task="waves", network="mlp", width=32),
    "cnn-digits": Recipe(task="digits", network="cnn", batch=32),
    "rnn-first-bit": Recipe(task="first-bit", network="rnn", activation="tanh", rate=0.003),
    "rnn-adding": Recipe(task="adding", network="rnn", activation="tanh", rate=0.003),
    "lstm-adding": Recipe(task="adding", network="lstm", rate=0.02),
    "gru-first-bit": Recipe(task="first-bit", network="gru", rate=0.02),
    "transformer-tokens": Recipe(
        task="tokens", network="transformer", depth=2, activation="gelu", rate=0.005
    ),
    "autoencoder": Recipe(task="reconstruction", network="autoencoder", depth=4, width=32),
    "gan-circles": Recipe(task="circles", network="gan", depth=2, activation="leaky", rate=0.003),
}
"""One healthy training a family: each learns, and its faulty cases are changes to it."""

_ANY: Mapping[str, Mapping[str, object]] = {
    "clipped": {"clip": 1.0},
    "warm-up": {"warmup": 60},
    "decayed": {"decay": True},
    "adamw": {"optimiser": "adamw"},
    "converged": {"pretrain": 600},
    "small-batch": {"batch": 8},
    "slower": {"rate": 0.003},
    "cyclic": {"cycle": 40},
    "in-order": {"in_order": True},
    "rmsprop": {"optimiser": "rmsprop", "rate": 0.003},
    "large-batch": {"batch": 256},
}
_CLASSES: Mapping[str, Mapping[str, object]] = {
    "smoothed": {"smoothing": 0.1},
    "weighted": {"class_weights": True},
}
_NUMBERS: Mapping[str, Mapping[str, object]] = {"noisy": {"noise": 0.5}}
_HALF: Mapping[str, Mapping[str, object]] = {
    "bfloat16": {"autocast": "bfloat16"},
    "float16": {"autocast": "float16", "loss_scaling": True},
}
_CHAIN: Mapping[str, Mapping[str, object]] = {
    "leaky": {"activation": "leaky"},
    "elu": {"activation": "elu"},
    "silu": {"activation": "silu"},
    "hardswish": {"activation": "hardswish"},
    "mish": {"activation": "mish"},
    "weight-decay": {"weight_decay": 1e-3, "optimiser": "sgd", "rate": 0.05, "momentum": 0.9},
    "adagrad": {"optimiser": "adagrad", "rate": 0.05},
}
_MLP: Mapping[str, Mapping[str, object]] = {
    "one-example": {"batch": 1, "rate": 0.001, "optimiser": "adam"},
    "dropout": {"dropout": 0.2},
    "zero-branches": {"residual": "zero", "depth": 4},
    "residual": {"residual": "plain", "depth": 5, "weight_scale": 0.5},
    "squared-relu": {"activation": "relu2", "rate": 0.003, "optimiser": "adam"},
    "top-k": {"activation": "top-k"},
    "layer-norm": {"norm": "layer"},
    "batch-norm": {"norm": "batch"},
    "mixture": {"network": "mixture"},
    "lora": {"network": "lora", "depth": 1, "width": 32},
    "frozen-backbone": {"frozen": "backbone", "held": "head", "width": 64, "depth": 1},
    "accumulated": {"accumulate": 4, "batch": 16},
    "checkpointed": {"checkpointed": True},
    "faster-head": {"head_rate": 10.0, "rate": 0.001},
    "selu": {"activation": "selu", "weights": "xavier"},
}


def variants(recipe: Recipe) -> Mapping[str, Recipe]:
    """Return the healthy variants that a base allows."""
    chosen: dict[str, Mapping[str, object]] = {}
    if recipe.network == "gan":
        chosen = {"relu": {"activation": "relu"}, "slower": {"rate": 0.001}}
    else:
        chosen |= _ANY | (_CLASSES if task(recipe.task).classes else _NUMBERS)
    if recipe.network in {"mlp", "cnn", "autoencoder"}:
        chosen |= _CHAIN | _HALF
    if recipe.network == "mlp":
        chosen |= _MLP
    if recipe.network == "cnn":
        chosen |= {"batch-norm": {"norm": "batch"}}
    return {name: replace(recipe, **change) for name, change in chosen.items()}  # type: ignore[arg-type]
