"""What draws a network's first weights: one rule for weights or biases, and which layer has which.

A member's weights come from its own seed alone, so it is the same member in any ensemble.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from headwater.errors import EnsembleError
from headwater.lab.network import Floats, Network

Rule = Literal["uniform", "normal", "scaled_uniform", "scaled_normal", "identity", "orthogonal"]
Fan = Literal["in", "out", "mean"]
Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Draw:
    r"""How the entries of one tensor are drawn; made by the functions of this module.

    With n the fan named by ``fan`` (of a bias: its layer's):

    ================ ==========================================================
    uniform          U[first, second]
    normal           N(first, second^2)
    scaled_uniform   U[-b, b] with standard deviation first / sqrt(n)
    scaled_normal    N(0, first^2 / n)
    identity         first on the diagonal, 0 elsewhere
    orthogonal       first times rows or columns of a random orthogonal matrix
    ================ ==========================================================
    """

    rule: Rule
    first: float
    second: float = 0.0
    fan: Fan = "in"


@dataclass(frozen=True, kw_only=True)
class Initialiser:
    """What each layer's weights and biases are drawn with.

    Attributes:
        hidden: Of the weights of all hidden layers.
        output: Of the output layer's weights; as the hidden ones if not given.
        bias: Of the biases of all hidden layers.
        output_bias: Of the output layer's biases; as the hidden ones if not given.

    Example:
        >>> he = Initialiser(hidden=he_uniform(), output=xavier_uniform(), bias=constant(-1.0))
        >>> network = Network(widths=(2, 5, 1), activation="relu")
        >>> first = he.draw(network, seed=3)
        >>> first.shape, network.tensor(first, "bias", 0).tolist()
        ((21,), [-1.0, -1.0, -1.0, -1.0, -1.0])
        >>> bool((first == he.draw(network, seed=3)).all())
        True
    """

    hidden: Draw
    output: Draw | None = None
    bias: Draw = Draw(rule="uniform", first=0.0, second=0.0)
    output_bias: Draw | None = None

    def draw(self, network: Network, seed: int) -> Floats:
        """Return one member's vector of parameters ``[network.size]``, in the network's dtype.

        Normalisation starts at scale 1 and shift 0, PReLU at the slope in its brackets.
        """
        # Layers in order, weights before biases, from one stream: a bias drawn at random changes
        # no weight of its own layer, and a deeper network begins as a shallower one.
        stream = np.random.default_rng([seed, 0])
        first = np.empty(network.size)
        starts = {"scale": 1.0, "shift": 0.0, "slope": float(network.phi.derivative(_LEFT)[0])}
        for slot in network.slots:
            if slot.kind in starts:
                first[slot.start : slot.stop] = starts[slot.kind]
                continue
            last = slot.layer == network.layers - 1
            rule = self._rule(slot.kind == "weight", last)
            fans = network.widths[slot.layer], network.widths[slot.layer + 1]
            first[slot.start : slot.stop] = _drawn(rule, slot.shape, fans, stream).ravel()
        return first.astype(network.dtype)

    def _rule(self, weight: bool, last: bool) -> Draw:
        if weight:
            return self.output if last and self.output else self.hidden
        return self.output_bias if last and self.output_bias else self.bias


_LEFT = np.array([-1.0])


def uniform(low: float, high: float) -> Draw:
    """Return U[low, high]."""
    return Draw(rule="uniform", first=low, second=high)


def constant(value: float) -> Draw:
    """Return the same number everywhere."""
    return uniform(value, value)


def normal(deviation: float, mean: float = 0.0) -> Draw:
    """Return N(mean, deviation^2)."""
    return Draw(rule="normal", first=mean, second=deviation)


def scaled_normal(sigma: float) -> Draw:
    """Return N(0, sigma^2 / fan-in): the mean-field theory's sigma_w.

    Source: Poole et al. (2016), arXiv:1606.05340.
    """
    return Draw(rule="scaled_normal", first=sigma)


def scaled_uniform(sigma: float) -> Draw:
    """Return the uniform draw around 0 of variance sigma^2 / fan-in."""
    return Draw(rule="scaled_uniform", first=sigma)


def xavier_uniform(gain: float = 1.0) -> Draw:
    """Return U[-b, b] with b = gain sqrt(6 / (fan-in + fan-out)).

    Source: Glorot and Bengio (2010), AISTATS, equation 16.
    """
    return Draw(rule="scaled_uniform", first=gain, fan="mean")


def xavier_normal(gain: float = 1.0) -> Draw:
    """Return N(0, 2 gain^2 / (fan-in + fan-out)); source as ``xavier_uniform``."""
    return Draw(rule="scaled_normal", first=gain, fan="mean")


def he_uniform(fan: Fan = "in") -> Draw:
    """Return U[-b, b] with b = sqrt(6 / fan-in). Source: He et al. (2015), arXiv:1502.01852."""
    return Draw(rule="scaled_uniform", first=math.sqrt(2), fan=fan)


def he_normal(fan: Fan = "in") -> Draw:
    """Return N(0, 2 / fan-in); source as ``he_uniform``."""
    return Draw(rule="scaled_normal", first=math.sqrt(2), fan=fan)


def lecun_uniform() -> Draw:
    """Return U[-b, b], b = sqrt(3 / fan-in). Source: LeCun et al. (1998), Efficient BackProp."""
    return scaled_uniform(1.0)


def lecun_normal() -> Draw:
    """Return N(0, 1 / fan-in); source as ``lecun_uniform``."""
    return scaled_normal(1.0)


def identity(factor: float = 1.0) -> Draw:
    """Return factor times the identity matrix, cut where the layer is not square."""
    return Draw(rule="identity", first=factor)


def orthogonal(gain: float = 1.0) -> Draw:
    """Return gain times a matrix with orthonormal rows or columns, whichever are fewer.

    Source: Saxe et al. (2014), arXiv:1312.6120.
    """
    return Draw(rule="orthogonal", first=gain)


def torch_default() -> Initialiser:
    """Return what ``nn.Linear`` draws: U(±1/sqrt(fan-in)), weights and biases of all layers.

    Source: torch/nn/modules/linear.py, ``reset_parameters``; pytorch#15314.

    Example:
        >>> drawn = torch_default().draw(Network(widths=(4, 900, 1)), seed=0)
        >>> float(abs(drawn[:4500]).max()) <= 0.5
        True
    """
    third = scaled_uniform(1 / math.sqrt(3))
    return Initialiser(hidden=third, bias=third)


def _drawn(draw: Draw, shape: Shape, fans: tuple[int, int], stream: np.random.Generator) -> Floats:
    if draw.rule not in RULES:
        raise EnsembleError("a draw's rule", draw.rule, ", ".join(RULES))
    fan = {"in": fans[0], "out": fans[1], "mean": (fans[0] + fans[1]) / 2}[draw.fan]
    return RULES[draw.rule](draw, shape, fan, stream)


def _scaled_uniform(draw: Draw, shape: Shape, fan: float, stream: np.random.Generator) -> Floats:
    bound = draw.first * math.sqrt(3 / fan)
    return stream.uniform(-bound, bound, shape)


def _scaled_normal(draw: Draw, shape: Shape, fan: float, stream: np.random.Generator) -> Floats:
    return stream.normal(0.0, draw.first / math.sqrt(fan), shape)


def _identity(draw: Draw, shape: Shape, _fan: float, _stream: np.random.Generator) -> Floats:
    return draw.first * np.eye(shape[0], shape[-1] if len(shape) > 1 else 1).reshape(shape)


def _orthogonal(draw: Draw, shape: Shape, _fan: float, stream: np.random.Generator) -> Floats:
    rows, columns = shape[0], shape[-1] if len(shape) > 1 else 1
    tall = stream.normal(size=(max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    # Without the signs of r's diagonal the matrix would not be uniformly distributed.
    q = q * np.sign(np.diagonal(r))
    matrix: Floats = draw.first * (q if rows >= columns else q.T)
    return matrix.reshape(shape)


RULES: Mapping[Rule, Callable[[Draw, Shape, float, np.random.Generator], Floats]] = {
    "uniform": lambda draw, shape, _fan, stream: stream.uniform(draw.first, draw.second, shape),
    "normal": lambda draw, shape, _fan, stream: stream.normal(draw.first, draw.second, shape),
    "scaled_uniform": _scaled_uniform,
    "scaled_normal": _scaled_normal,
    "identity": _identity,
    "orthogonal": _orthogonal,
}
