"""Recurrent networks of one shape, stacked over seeds and unrolled by hand.

``nn.LSTM`` hides its steps in one fused node, and a loop over seeds is slow. Here every tensor has
the seeds in front, one step of all seeds is one batched product, and each step's state can be
asked for its gradient.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from headwater.lab.rows import Array

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Kind = Literal["rnn", "relu", "lstm", "gru"]

# Gates of a cell, in the order of their columns; LSTM's sigmoids stand together.
GATES: Mapping[Kind, int] = {"rnn": 1, "relu": 1, "lstm": 4, "gru": 3}
INPUT_GATE, FORGET_GATE = 0, 1


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A recurrent cell and how it is drawn.

    Attributes:
        kind: ``rnn`` is tanh's, ``relu`` the same with ReLU.
        recurrent: ``torch`` draws all of U(±1/sqrt(units)), as ``nn.RNN`` and its like do;
            ``orthogonal`` (each gate by itself) and ``identity`` are of the recurrent weights, the
            input's are then Xavier's and the biases 0.
        forget: Bias of the LSTM's forget gate; ``chrono`` draws it for the length of the task.
    """

    kind: Kind
    recurrent: Literal["torch", "orthogonal", "identity"] = "torch"
    forget: float | Literal["chrono"] = 0.0


def draw_parameters(
    cell: Cell, seeds: Array, *, inputs: int, units: int, length: int
) -> list[Tensor]:
    """Return weights and biases of a network of every seed, with one number read at the end.

    Input weights ``[seeds, inputs, gates units]``, recurrent ones ``[seeds, units, gates units]``,
    their biases ``[seeds, 1, gates units]``, readout ``[seeds, units, 1]`` and ``[seeds, 1, 1]``.

    Example:
        >>> shapes = [tuple(p.shape) for p in draw_parameters(
        ...     Cell(kind="lstm"), np.arange(3), inputs=1, units=16, length=50)]
        >>> shapes
        [(3, 1, 64), (3, 16, 64), (3, 1, 64), (3, 1, 64), (3, 16, 1), (3, 1, 1)]
    """
    import torch

    drawn = [_drawn(cell, int(seed), inputs, units, length) for seed in seeds]
    stacks = [np.stack(parts).astype(np.float32) for parts in zip(*drawn, strict=True)]
    return [torch.from_numpy(stack).requires_grad_() for stack in stacks]


def _drawn(cell: Cell, seed: int, inputs: int, units: int, length: int) -> list[Array]:
    stream = np.random.default_rng([seed, 11])
    gates, bound = GATES[cell.kind], 1 / math.sqrt(units)
    shapes = (
        (inputs, gates * units),
        (units, gates * units),
        (1, gates * units),
        (1, gates * units),
        (units, 1),
        (1, 1),
    )
    found = [stream.uniform(-bound, bound, shape) for shape in shapes]
    if cell.recurrent == "torch":
        return found
    xavier = math.sqrt(6 / (inputs + units))
    found[0] = stream.uniform(-xavier, xavier, shapes[0])
    squares = [
        np.eye(units) if cell.recurrent == "identity" else _orthogonal(units, stream)
        for _ in range(gates)
    ]
    found[1] = np.concatenate(squares, axis=1)
    found[2], found[3] = np.zeros(shapes[2]), np.zeros(shapes[3])
    if cell.kind == "lstm":
        _open_gates(found[2], cell, units, length, stream)
    return found


def _open_gates(
    bias: Array, cell: Cell, units: int, length: int, stream: np.random.Generator
) -> None:
    forget = bias[:, FORGET_GATE * units : (FORGET_GATE + 1) * units]
    if cell.forget == "chrono":
        # Tallec and Ollivier (2018), arXiv:1804.11188: time constants spread over the task.
        forget[:] = np.log(stream.uniform(1, length - 1, forget.shape))
        bias[:, INPUT_GATE * units : (INPUT_GATE + 1) * units] = -forget
    else:
        forget[:] = cell.forget


def _orthogonal(units: int, stream: np.random.Generator) -> Array:
    q, r = np.linalg.qr(stream.standard_normal((units, units)))
    turned: Array = q * np.sign(np.diagonal(r))
    return turned


def unrolled(cell: Cell, parameters: list[Tensor], x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return what is read at the end ``[seeds, batch]``, and every step's hidden state.

    Args:
        cell: Of which kind.
        parameters: As :func:`draw_parameters` returns them.
        x: ``[seeds, batch, steps, inputs]``.
    """
    import torch

    into, within, bias, inner, readout, shift = parameters
    seeds, batch, steps, inputs = x.shape
    units = within.shape[1]
    flat = torch.baddbmm(bias, x.reshape(seeds, batch * steps, inputs), into)
    terms = flat.reshape(seeds, batch, steps, -1).permute(2, 0, 1, 3)
    if cell.kind != "gru":
        terms = terms + inner  # which GRU adds within a gate
    state = (x.new_zeros(seeds, batch, units), x.new_zeros(seeds, batch, units))
    states = []
    step = {"rnn": _rnn, "relu": _relu, "lstm": _lstm, "gru": _gru}[cell.kind]
    for term in terms.contiguous().unbind(0):
        state = step(term, state, within, inner)
        states.append(state[0])
    return torch.baddbmm(shift, states[-1], readout).squeeze(2), states


State = tuple[Any, Any]


def _rnn(term: Tensor, state: State, within: Tensor, _inner: Tensor) -> State:
    import torch

    return torch.tanh(torch.baddbmm(term, state[0], within)), state[1]


def _relu(term: Tensor, state: State, within: Tensor, _inner: Tensor) -> State:
    import torch

    return torch.relu(torch.baddbmm(term, state[0], within)), state[1]


def _lstm(term: Tensor, state: State, within: Tensor, _inner: Tensor) -> State:
    import torch

    hidden, memory = state
    units = within.shape[1]
    sums = torch.baddbmm(term, hidden, within)
    opened, forget, shown = torch.sigmoid(sums[..., : 3 * units]).chunk(3, dim=2)
    memory = torch.addcmul(forget * memory, opened, torch.tanh(sums[..., 3 * units :]))
    return shown * torch.tanh(memory), memory


def _gru(term: Tensor, state: State, within: Tensor, inner: Tensor) -> State:
    import torch

    hidden, units = state[0], within.shape[1]
    sums = torch.baddbmm(inner, hidden, within)
    reset, kept = torch.sigmoid(term[..., : 2 * units] + sums[..., : 2 * units]).chunk(2, dim=2)
    new = torch.tanh(torch.addcmul(term[..., 2 * units :], reset, sums[..., 2 * units :]))
    return new + kept * (hidden - new), state[1]


def first_bit(stream: np.random.Generator, batch: int, length: int) -> tuple[Array, Array]:
    """Return sequences whose first input, +1 or -1, is the label; all later ones are noise.

    ``[batch, length, 1]`` and labels 0 or 1 ``[batch]``.
    """
    x = stream.normal(0, 0.2, (batch, length, 1))
    label = stream.integers(0, 2, batch)
    x[:, 0, 0] = 2 * label - 1
    return x.astype(np.float32), label.astype(np.float32)


def adding(stream: np.random.Generator, batch: int, length: int) -> tuple[Array, Array]:
    """Return numbers of U[0, 1], two of them marked, one in each half, and the sum of the two.

    ``[batch, length, 2]`` and ``[batch]``. Source: Hochreiter and Schmidhuber (1997).
    """
    x = np.zeros((batch, length, 2))
    x[:, :, 0] = stream.uniform(size=(batch, length))
    row, half = np.arange(batch), length // 2
    first, second = stream.integers(0, half, batch), stream.integers(half, length, batch)
    x[row, first, 1] = x[row, second, 1] = 1
    total = x[row, first, 0] + x[row, second, 0]
    return x.astype(np.float32), total.astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task on sequences, and how it is trained: Adam with the gradient's norm clipped at 1."""

    name: Literal["first-bit", "adding"]
    length: int
    updates: int
    units: int = 16
    batch: int = 16
    rate: float = 0.005

    @property
    def inputs(self) -> int:
        """Return the numbers of a step."""
        return 1 if self.name == "first-bit" else 2

    def batches(self, streams: list[np.random.Generator], batch: int) -> tuple[Tensor, Tensor]:
        """Return a batch of every seed, ``[seeds, batch, length, inputs]``, and its targets."""
        import torch

        drawing = first_bit if self.name == "first-bit" else adding
        x, y = zip(*[drawing(stream, batch, self.length) for stream in streams], strict=True)
        return torch.from_numpy(np.stack(x)), torch.from_numpy(np.stack(y))

    def loss(self, read: Tensor, wanted: Tensor) -> Tensor:
        """Return the mean loss of every seed ``[seeds]``."""
        from torch.nn import functional

        take = (
            functional.binary_cross_entropy_with_logits
            if self.name == "first-bit"
            else functional.mse_loss
        )
        return take(read, wanted, reduction="none").mean(1)


def gradients_by_step(task: Task, cell: Cell, seeds: Array) -> Array:
    """Return the norm of the loss's gradient by each step's hidden state, before training.

    ``[seeds, length]``, float64 norms of float32 gradients.
    """
    import torch

    parameters = draw_parameters(
        cell, seeds, inputs=task.inputs, units=task.units, length=task.length
    )
    x, y = task.batches([np.random.default_rng([int(seed), 12]) for seed in seeds], 256)
    read, states = unrolled(cell, parameters, x)
    gradients = torch.autograd.grad(task.loss(read, y).sum(), states)
    return torch.stack([one.double().norm(dim=(1, 2)) for one in gradients], dim=1).numpy()


def train_recurrent(task: Task, cell: Cell, seeds: Array) -> Array:
    """Train a network of every seed; return its accuracy, or squared error, on 256 new sequences.

    Every seed draws its own sequences, and its gradient is clipped by its own norm.
    """
    import torch

    parameters = draw_parameters(
        cell, seeds, inputs=task.inputs, units=task.units, length=task.length
    )
    streams = [np.random.default_rng([int(seed), 13]) for seed in seeds]
    optimiser = torch.optim.Adam(parameters, lr=task.rate)
    for _ in range(task.updates):
        x, y = task.batches(streams, task.batch)
        optimiser.zero_grad()
        task.loss(unrolled(cell, parameters, x)[0], y).sum().backward()  # type: ignore[no-untyped-call]
        _clip(parameters)
        optimiser.step()
    x, y = task.batches([np.random.default_rng([int(seed), 14]) for seed in seeds], 256)
    with torch.no_grad():
        read = unrolled(cell, parameters, x)[0]
        if task.name == "first-bit":
            return ((read > 0) == (y > 0.5)).double().mean(1).numpy()
        return (read - y).double().square().mean(1).numpy()


def _clip(parameters: list[Any], limit: float = 1.0) -> None:
    """``clip_grad_norm_`` for each seed by itself."""
    import torch

    squares = [p.grad.double().square().sum(dim=(1, 2)) for p in parameters]
    norms: torch.Tensor = torch.stack(squares).sum(0).sqrt()
    factor = (limit / (norms + 1e-6)).clamp(max=1.0).float()[:, None, None]
    for one in parameters:
        one.grad.mul_(factor)
