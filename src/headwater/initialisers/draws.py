r"""Weights as they are drawn: independent or orthogonal, their rows centred or not.

All are scaled so that :math:`E|W^T g|^2 = \sigma_w^2 |g|^2`, for a matrix of any shape: with
entries of variance :math:`\sigma_w^2` over fan-in each row has mean square norm
:math:`\sigma_w^2`, and the gradient's norm is a sum over rows. Nothing of the width or the fan-out
enters. A convolution's kernel is a row per output channel; zero padding apart the same holds.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

FEWEST = 4
"""Inputs below which a row is not centred: too little of it would be left."""


def draw(
    like: Tensor,
    variance: float,
    *,
    units_first: bool = True,
    centred: bool = False,
    orthogonal: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Return fresh weights of the shape, dtype and device of ``like``.

    Args:
        like: A matrix or a kernel.
        variance: :math:`\sigma_w^2`, fan-in times the variance of an entry.
        units_first: Whether the first axis counts the units; kernels have them first.
        centred: Whether each row has sum 0 over its inputs (at each tap of a kernel).
        orthogonal: Whether rows are orthogonal to each other, or columns where there are more
            rows. A kernel is taken flat, as a matrix of output channels by fan-in.
        generator: Of the draw; torch's global one if not given.

    Example:
        >>> weight = draw(torch.empty(64, 128), 2.0, orthogonal=True)
        >>> torch.allclose(weight @ weight.T, 2.0 * torch.eye(64), atol=1e-5)
        True
        >>> bool(draw(torch.empty(8, 16), 1.0, centred=True).sum(1).abs().max() < 1e-5)
        True
    """
    device = generator.device if generator is not None else like.device
    # Half precisions are drawn in float32 and rounded, so that a seed gives the same network.
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    shape = like.shape if units_first else like.shape[::-1]
    fresh = torch.randn(shape, generator=generator, device=device, dtype=dtype)
    fan_in = fresh[0].numel()
    fresh *= math.sqrt(variance / fan_in)
    if centred:
        # A centred row has lost one direction of its inputs; the others make up for it.
        fresh = centre(fresh) * math.sqrt(fresh.shape[1] / (fresh.shape[1] - 1))
    if orthogonal:
        fresh = straighten(fresh, variance)
    return (fresh if units_first else fresh.T).to(device=like.device, dtype=like.dtype)


def centre(weight: Tensor) -> Tensor:
    """Take each row's mean over its inputs away; a kernel's, at each tap for itself.

    With zero padding a kernel centred over all its taps would not be centred at the border.

    Example:
        >>> centre(torch.tensor([[1.0, 3.0]])).tolist()
        [[-1.0, 1.0]]
    """
    return weight - weight.mean(dim=1, keepdim=True)


def straighten(weight: Tensor, variance: float) -> Tensor:
    r"""Return the nearest semi-orthogonal matrix, its squared norm :math:`\sigma_w^2` a row.

    The polar factor. Rows that are centred stay so: what the matrix does not reach it leaves out.
    Where there are more rows than columns, columns are orthogonal, and the gradient's norm is
    kept in the mean over its directions instead of exactly.

    Source: Saxe et al. (2014), arXiv:1312.6120, for orthogonal starts.

    Example:
        >>> straighten(torch.tensor([[3.0, 0.0], [0.0, 0.1]]), 1.0).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    flat = weight.reshape(weight.shape[0], -1)
    left, sizes, right = torch.linalg.svd(flat, full_matrices=False)
    reached = (sizes > sizes.max() * 1e-5).to(flat.dtype)
    polar = (left * reached) @ right
    scale = math.sqrt(variance * flat.shape[0] / max(float(reached.sum()), 1.0))
    straight: Tensor = (scale * polar).reshape(weight.shape)
    return straight


def centrable(weight: Tensor, units_first: bool) -> bool:
    """Whether rows have inputs enough to be centred; those of depthwise kernels have not.

    Example:
        >>> centrable(torch.empty(8, 1, 3, 3), True)
        False
    """
    return weight.shape[1 if units_first else 0] >= FEWEST
