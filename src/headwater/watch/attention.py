"""How sure attention is: rows of a softmax inside the network that have become one-hot.

A softmax whose largest entry is near 1 passes no gradient on to its scores, as a saturated sigmoid
does; Zhai et al. (2023, arXiv:2303.06296) call it entropy collapse.
"""

from __future__ import annotations

from typing import Any

import torch

from headwater.watch.activations import SATURATED_BELOW, Reading, share_of, signed
from headwater.watch.saved import saved

ATTENDS = "Softmax"

_SURE = 0.5 + 0.5 * (1 - SATURATED_BELOW) ** 0.5
"""An entry p has the derivative p (1 - p), 0.25 at most; beyond this p it is under 5 % of that, and
so are the derivatives of all others of its row."""


def read_attention(node: Any) -> Reading | None:
    """Read a softmax before its backward frees what it saved; None if it keeps nothing.

    Of the figures of a reading it has ``units``, the entries of a row, and ``saturated``, the share
    of rows in which one entry has all but 0.013 of the weight.

    Example:
        >>> scores = torch.tensor([[0.0, 9.0, 0.0], [0.1, 0.2, 0.0]], requires_grad=True)
        >>> read_attention(scores.softmax(-1).grad_fn).saturated
        0.5
    """
    kept = saved(node, "result")
    if kept is None or kept.numel() == 0 or not kept.dim():
        return None
    axis = signed(int(node._saved_dim))
    if kept.shape[axis] < 2:
        return None
    with torch.no_grad():
        surest = kept.amax(axis) > _SURE
    return Reading(units=kept.shape[axis], saturated=share_of(surest))
