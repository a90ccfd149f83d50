"""The shape that all members of an ensemble share, and where its parameters lie in a vector."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from headwater.errors import EnsembleError
from headwater.theory.activations import Activation
from headwater.theory.catalogue import find_activation, parse_activation

Loss = Literal["bce", "mse"]
Dtype = Literal["float32", "float64"]
SlotKind = Literal["weight", "bias", "scale", "shift", "slope"]
Floats = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class Slot:
    """Where one tensor of a network lies in the vector of its parameters.

    ``layer`` counts weight layers from 0; ``scale`` and ``shift`` are batch normalisation's,
    ``slope`` is the one PReLU learns.
    """

    kind: SlotKind
    layer: int
    start: int
    shape: tuple[int, ...]

    @property
    def stop(self) -> int:
        """Return where the next tensor starts."""
        return self.start + int(np.prod(self.shape))


@dataclass(frozen=True, kw_only=True)
class Network:
    """A multilayer perceptron: every hidden layer has the same activation.

    A hidden layer computes ``z = W a + b``, batch normalisation if asked, and ``phi(z)``; the
    output layer only ``z``. With the loss ``bce`` outputs are logits of independent labels 0 or 1
    (a sigmoid follows, its loss is taken from the logit); with ``mse`` they are numbers. Both are
    means over points and outputs, as torch's.

    Attributes:
        widths: Inputs, units of each hidden layer, outputs.
        activation: A name of the catalogue, parameters in brackets. ``prelu`` learns one slope a
            layer; ``rrelu`` draws a slope for every entry in training and takes the mean slope in
            evaluation; ``identity`` makes a deep linear network.
        loss: ``bce`` or ``mse``.
        batch_norm: Whether pre-activations of hidden layers are normalised over the batch, with
            torch's constants (eps 1e-5, momentum 0.1); evaluation uses the running moments.
        dtype: Of all arithmetic.

    Raises:
        EnsembleError: The shape makes no network.
        UnknownActivationError: The catalogue does not hold the activation.

    Example:
        >>> deep = Network(widths=(2, 5, 5, 5, 5, 5, 1), activation="tanh")
        >>> deep.layers, deep.hidden_units, deep.size
        (6, 25, 141)
        >>> Network(widths=(2, 5, 1), activation="prelu").slots[2]
        Slot(kind='slope', layer=0, start=15, shape=(1,))
    """

    widths: tuple[int, ...]
    activation: str = "tanh"
    loss: Loss = "bce"
    batch_norm: bool = False
    dtype: Dtype = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(int(width) for width in self.widths))
        if len(self.widths) < 2 or min(self.widths) < 1:
            raise EnsembleError(
                "widths", self.widths, "inputs, hidden units and outputs, each at least 1"
            )
        if self.loss not in {"bce", "mse"}:
            raise EnsembleError("loss", self.loss, "'bce' or 'mse'")
        if self.dtype not in {"float32", "float64"}:
            raise EnsembleError("dtype", self.dtype, "'float32' or 'float64'")
        find_activation(self.activation)

    @property
    def layers(self) -> int:
        """Return the number of weight layers, the output's included."""
        return len(self.widths) - 1

    @property
    def hidden_units(self) -> int:
        """Return the number of hidden units of all layers."""
        return sum(self.widths[1:-1])

    @property
    def phi(self) -> Activation:
        """Return the activation as the theory knows it."""
        return find_activation(self.activation)

    @property
    def learns_slopes(self) -> bool:
        """Say whether it is a PReLU network."""
        return parse_activation(self.activation)[0] == "prelu"

    @property
    def random_slopes(self) -> tuple[float, float] | None:
        """Return the bounds of RReLU's random slopes, or None if nothing is random."""
        word, parts = parse_activation(self.activation)
        if word != "rrelu" or (parts and parts[0] == "eval"):
            return None
        given = [float(part.partition("=")[2] or part) for part in parts[1:]]
        lower, upper = [*given, *(1 / 8, 1 / 3)[len(given) :]]
        return lower, upper

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """Return where each tensor lies in the vector of parameters, layer by layer."""
        found: list[Slot] = []
        start = 0
        for layer in range(self.layers):
            fan_in, fan_out = self.widths[layer], self.widths[layer + 1]
            shapes: list[tuple[SlotKind, tuple[int, ...]]] = [
                ("weight", (fan_out, fan_in)),
                ("bias", (fan_out,)),
            ]
            if layer < self.layers - 1 and self.batch_norm:
                shapes += [("scale", (fan_out,)), ("shift", (fan_out,))]
            if layer < self.layers - 1 and self.learns_slopes:
                shapes += [("slope", (1,))]
            for kind, shape in shapes:
                found.append(Slot(kind=kind, layer=layer, start=start, shape=shape))
                start = found[-1].stop
        return tuple(found)

    @property
    def size(self) -> int:
        """Return the number of parameters of one member."""
        return self.slots[-1].stop

    def slot(self, kind: SlotKind, layer: int) -> Slot:
        """Return one tensor's place.

        Raises:
            EnsembleError: The network has no such tensor.
        """
        for slot in self.slots:
            if (slot.kind, slot.layer) == (kind, layer):
                return slot
        raise EnsembleError(
            "the tensor", f"{kind!r} of layer {layer}", f"one of the {self.layers} layers' own"
        )

    def tensor(self, parameters: Floats, kind: SlotKind, layer: int) -> Floats:
        """Return one tensor of vectors of parameters ``[..., size]`` as ``[..., *shape]``.

        Example:
            >>> network = Network(widths=(2, 3, 1))
            >>> network.tensor(np.zeros((7, network.size)), "weight", 0).shape
            (7, 3, 2)
        """
        slot = self.slot(kind, layer)
        return parameters[..., slot.start : slot.stop].reshape(*parameters.shape[:-1], *slot.shape)

    def tensors(self, parameters: Floats, kind: SlotKind) -> tuple[Floats, ...]:
        """Return the tensors of one kind, first layer first: ``weight`` gives every layer's."""
        return tuple(
            self.tensor(parameters, kind, slot.layer) for slot in self.slots if slot.kind == kind
        )
