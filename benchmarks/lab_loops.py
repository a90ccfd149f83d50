"""The loops that an ensemble is timed against: plain PyTorch, and Keras where it is installed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
import torch
from torch import Tensor, nn

from headwater.demo.two_circles import circles
from headwater.lab.ensemble import Clip, Data, Network, Optimiser, Record, sgd

EPOCHS = 500
DEEP = (2, 5, 5, 5, 5, 5, 1)
PLAIN_LIMIT, OTHER_LIMIT, KERAS_LIMIT = 100.0, 25.0, 1000.0
"""What the medians must reach: for tanh with SGD or Adam, for all else, and against Keras."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing the engine offers, and the least it must gain."""

    name: str
    activation: str = "tanh"
    optimiser: Optimiser = sgd(0.01, momentum=0.9)  # noqa: RUF009
    clip: Clip | None = None
    batch_norm: bool = False
    dtype: str = "float32"
    widths: tuple[int, ...] = DEEP
    record: Record | None = None
    backend: str = "auto"
    limit: float = OTHER_LIMIT

    def network(self) -> Network:
        """Return its shape."""
        return Network(
            widths=self.widths,
            activation=self.activation,
            batch_norm=self.batch_norm,
            dtype=self.dtype,  # type: ignore[arg-type]
        )


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "relu": nn.ReLU,
    "leaky_relu(0.1)": lambda: nn.LeakyReLU(0.1),
    "prelu": nn.PReLU,
    "rrelu": nn.RReLU,
    "relu6": nn.ReLU6,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "hardswish": nn.Hardswish,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
}


def the_circles() -> Data:
    """Return the two circles: the first half to train on, the second to test."""
    x, y = circles(1000, noise=0.1, seed=1)
    x, y = x.double().numpy(), y.double().numpy()
    return Data(x=x[:500], y=y[:500], test_x=x[500:], test_y=y[500:])


def module_of(case: Case) -> nn.Sequential:
    """Return a case's network as anybody would write it."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in zip(case.widths[:-2], case.widths[1:-1], strict=True):
        layers.append(nn.Linear(fan_in, fan_out))
        if case.batch_norm:
            layers.append(nn.BatchNorm1d(fan_out))
        layers.append(ACTIVATIONS[case.activation]())
    return nn.Sequential(*layers, nn.Linear(*case.widths[-2:])).to(getattr(torch, case.dtype))


def optimizer_of(case: Case, model: nn.Module) -> torch.optim.Optimizer:
    """Return a case's optimiser as anybody would make it."""
    o, parameters = case.optimiser, model.parameters()
    if o.kind == "sgd":
        return torch.optim.SGD(
            parameters, lr=o.learning_rate, momentum=o.momentum, nesterov=o.nesterov
        )
    makers = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop}
    made: torch.optim.Optimizer = makers[o.kind](parameters, lr=o.learning_rate)
    return made


def clip_of(case: Case, model: nn.Module) -> None:
    """Clip as torch's own functions do."""
    if case.clip is None:
        return
    if case.clip.kind == "norm":
        nn.utils.clip_grad_norm_(model.parameters(), case.clip.limit)
    elif case.clip.kind == "value":
        nn.utils.clip_grad_value_(model.parameters(), case.clip.limit)
    else:
        for parameter in model.parameters():
            nn.utils.clip_grad_norm_([parameter], case.clip.limit)


def loop_seconds(case: Case, data: Data, epochs: int, evaluate: int) -> float:
    """Return what a plain loop takes for the whole training, from some of its epochs."""
    kind = getattr(torch, case.dtype)
    x, y, test_x, test_y = (
        torch.tensor(part, dtype=kind) for part in (data.x, data.y, data.test_x, data.test_y)
    )
    model, criterion = module_of(case), nn.BCEWithLogitsLoss()
    optimizer = optimizer_of(case, model)
    started = time.perf_counter()
    for epoch in range(1, epochs + 1):
        order = torch.randperm(len(x))
        for start in range(0, len(x), 32):
            at = order[start : start + 32]
            optimizer.zero_grad()
            loss = criterion(model(x[at]), y[at])
            loss.backward()
            clip_of(case, model)
            optimizer.step()
        if epoch % evaluate == 0:
            told(model, criterion, x, y)
            told(model, criterion, test_x, test_y)
    return (time.perf_counter() - started) * EPOCHS / epochs


def told(model: nn.Module, criterion: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Return loss and accuracy."""
    model.eval()
    with torch.no_grad():
        logits = model(x)
        found = float(criterion(logits, y)), float(((logits > 0) == (y > 0.5)).float().mean())
    model.train()
    return found


def keras_seconds(data: Data, epochs: int) -> float:
    """Return what Keras ``fit`` takes for the whole training of tanh with SGD."""
    import keras

    layers = [keras.layers.Dense(width, activation="tanh") for width in DEEP[1:-1]]
    model = keras.Sequential(
        [keras.Input((2,)), *layers, keras.layers.Dense(1, activation="sigmoid")]
    )
    model.compile(
        loss="binary_crossentropy",
        optimizer=keras.optimizers.SGD(0.01, momentum=0.9),
        metrics=["accuracy"],
    )
    x, y, test_x, test_y = (
        np.asarray(part, "float32") for part in (data.x, data.y, data.test_x, data.test_y)
    )
    settings = {"batch_size": 32, "validation_data": (test_x, test_y), "verbose": 0}
    model.fit(x, y, epochs=1, **settings)
    started = time.perf_counter()
    model.fit(x, y, epochs=epochs, **settings)
    return (time.perf_counter() - started) * EPOCHS / epochs
