"""Descriptions of layers, as the calculus of signals reads them.

A network is a tuple of these. They say what theory needs and nothing of any framework: whoever
has a module writes its description.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from headwater.theory.activations import Activation


@dataclass(frozen=True, kw_only=True)
class Dense:
    r"""Linear layer of independent weights of mean 0.

    Attributes:
        weight_variance: :math:`\sigma_w^2`, fan-in times the variance of a weight.
        bias_variance: Variance of a bias.
        width: Number of output units; None for infinite.
        name: For the table.

    Example:
        >>> Dense(weight_variance=2.0, width=256).name
        'dense'
    """

    weight_variance: float
    bias_variance: float = 0.0
    width: int | None = None
    name: str = "dense"


@dataclass(frozen=True, kw_only=True)
class Convolution:
    r"""Convolution of independent weights of mean 0; fan-in is channels times the kernel's size.

    Attributes:
        weight_variance: :math:`\sigma_w^2`, fan-in times the variance of a weight.
        bias_variance: Variance of a bias.
        width: Number of output channels; None for infinite.
        inside: Share of the kernel's taps that fall inside the image, averaged over positions; 1
            without zero padding (see ``taps_inside``).
        name: For the table.

    Example:
        >>> Convolution(weight_variance=2.0, inside=taps_inside(32, 3)**2).inside < 1
        True
    """

    weight_variance: float
    bias_variance: float = 0.0
    width: int | None = None
    inside: float = 1.0
    name: str = "convolution"


@dataclass(frozen=True, kw_only=True)
class Activate:
    """An elementwise activation; its input must be Gaussian.

    Attributes:
        activation: Of the catalogue, or one of your own.
        width: Units over which it averages; None for infinite.
        name: For the table; the activation's own if empty.

    Example:
        >>> Activate(activation="gelu", width=256).activation
        'gelu'
    """

    activation: str | Activation
    width: int | None = None
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class BatchNorm:
    """Normalisation over the batch, unit by unit; in the training mode.

    Attributes:
        scale: The learnt factor, 1 at the start.
        name: For the table.
    """

    scale: float = 1.0
    name: str = "batch norm"


@dataclass(frozen=True, kw_only=True)
class LayerNorm:
    """Normalisation over the units of one sample, mean removed; group norm of wide groups too.

    Attributes:
        scale: The learnt factor, 1 at the start.
        name: For the table.
    """

    scale: float = 1.0
    name: str = "layer norm"


@dataclass(frozen=True, kw_only=True)
class RMSNorm:
    """Division by the root mean square over the units of one sample.

    Attributes:
        scale: The learnt factor, 1 at the start.
        name: For the table.
    """

    scale: float = 1.0
    name: str = "RMS norm"


@dataclass(frozen=True, kw_only=True)
class Dropout:
    """Dropout in training: a share of units is 0, the others are divided by the share kept.

    Attributes:
        rate: The share that is dropped.
        name: For the table.
    """

    rate: float
    name: str = "dropout"


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Multiplication by a constant, or by one that is learnt.

    Attributes:
        factor: The constant; the root mean square where units have their own.
        name: For the table.
    """

    factor: float
    name: str = "scale"


@dataclass(frozen=True, kw_only=True)
class AveragePool:
    """Mean over windows that do not overlap; exact for positions of known correlation.

    Attributes:
        window: Positions in a window.
        correlation: Of two positions of one window (about their mean); 1 for a flat image.
        name: For the table.
    """

    window: int
    correlation: float = 0.0
    name: str = "average pool"


@dataclass(frozen=True, kw_only=True)
class MaxPool:
    """Maximum over windows that do not overlap, of independent Gaussian positions.

    Attributes:
        window: Positions in a window.
        name: For the table.
    """

    window: int
    name: str = "max pool"


@dataclass(frozen=True, kw_only=True)
class Residual:
    """A sum of a stream and a branch that reads it: skip_scale s(x) + branch_scale f(x).

    Attributes:
        branch: The layers of f; its last weights must not be shared with the stream.
        skip: The layers of s, as of a projection; none where the stream goes on as it is.
        branch_scale: Factor of the branch.
        skip_scale: Factor of the stream.
        name: For the table.

    Example:
        >>> branch = (Activate(activation="relu"), Dense(weight_variance=2.0))
        >>> Residual(branch=branch, branch_scale=0.1).skip_scale
        1.0
    """

    branch: tuple[Layer, ...]
    skip: tuple[Layer, ...] = ()
    branch_scale: float = 1.0
    skip_scale: float = 1.0
    name: str = "residual"


@dataclass(frozen=True, kw_only=True)
class NotCovered:
    """Anything else: the forecast stops here and says so.

    Attributes:
        name: What it is.
        why: Why theory has no answer.
    """

    name: str
    why: str = field(default="there is no formula for it here")


Layer = (
    Dense
    | Convolution
    | Activate
    | BatchNorm
    | LayerNorm
    | RMSNorm
    | Dropout
    | Scale
    | AveragePool
    | MaxPool
    | Residual
    | NotCovered
)


def taps_inside(size: int, kernel: int, padding: int | None = None, stride: int = 1) -> float:
    """Share of a kernel's taps that fall inside an axis, averaged over output positions.

    Args:
        size: Length of the axis.
        kernel: Length of the kernel.
        padding: Zeros on each side; half the kernel if not given.
        stride: Step between output positions.

    Example:
        >>> taps_inside(4, 3)  # two of four positions have one tap outside
        0.8333333333333334
    """
    around = kernel // 2 if padding is None else padding
    starts = range(-around, size + around - kernel + 1, stride)
    inside = [sum(0 <= start + tap < size for tap in range(kernel)) for start in starts]
    if not inside:
        raise ValueError(f"a kernel of {kernel} does not fit {size} with padding {around}")
    return sum(inside) / (kernel * len(inside))
