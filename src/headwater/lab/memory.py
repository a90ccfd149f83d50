"""What memory an ensemble takes, counted array by array before any of them is made."""

from __future__ import annotations

import numpy as np

from headwater.lab.blocks import sheet_bytes
from headwater.lab.training import Plan

LANES = 16
"""Members that the compiled backend works on together: one 512-bit register of float32."""

STACKED = 32
"""The batched backend's blocks have a multiple of so many members, so that torch's loops, which
take 32 entries at a time and the rest one by one with another rounding, have no rest: or a member's
bits would depend on where in a tensor it lies."""

ROWS = 4
"""Rows of a tile that share a weight; a tile has a multiple of them."""

TILE = 16
"""Rows worked on together where nothing asks for more: they stay in the nearest cache."""

TENSORS_PER_POINT = 6
"""Copies of every unit's output that autograd holds: z, its activation, both gradients, two more
for what a formula needs in between."""

STATES = 6
"""Vectors of parameters that an optimiser's step holds: the parameters, the gradient, two moments
and two in between."""


def recorded_bytes(plan: Plan) -> int:
    """Return the size of what a plan records for all its members."""
    return sheet_bytes(plan)


def tile_rows(plan: Plan) -> int:
    """Return how many rows the compiled passes work on at a time, a multiple of ``ROWS``."""
    if not plan.network.batch_norm:
        return min(TILE, -(-plan.batch // ROWS) * ROWS)
    # Its moments are taken over all rows at once: a batch, or all points where gradients or units
    # are recorded.
    whole = plan.points if plan.record.gradients or plan.record.units else plan.batch
    return -(-whole // ROWS) * ROWS


def compiled_block_bytes(plan: Plan) -> int:
    """Return the working memory of sixteen members in the compiled backend."""
    network, rows = plan.network, tile_rows(plan)
    cells = 4 * network.size + 3 * network.hidden_units
    cells += rows * (3 * sum(network.widths) + 2 * max(network.widths))
    numbers = 8 * LANES * (2 * network.hidden_units + 2 * min(plan.record.steps, plan.steps))
    orders = 4 * LANES * (2 * plan.points + _tests(plan))
    return LANES * cells * _width(plan) + numbers + orders + _data_bytes(plan, LANES)


def stacked_member_bytes(plan: Plan) -> int:
    """Return the working memory of one member in the batched backend, an upper estimate."""
    network, rows = plan.network, max(plan.points, _tests(plan))
    numbers = STATES * network.size + TENSORS_PER_POINT * rows * sum(network.widths)
    return numbers * _width(plan) + 8 * plan.points + _data_bytes(plan, 1)


def _tests(plan: Plan) -> int:
    return 0 if plan.data.test_x is None else int(plan.data.test_x.shape[-2])


def _width(plan: Plan) -> int:
    return np.dtype(plan.network.dtype).itemsize


def _data_bytes(plan: Plan, members: int) -> int:
    """Return what a block's copy of the points takes, which is one set if they share it."""
    sets = members if plan.data.x.ndim == 3 else 1
    columns = plan.network.widths[0] + plan.network.widths[-1]
    return sets * (plan.points + _tests(plan)) * columns * _width(plan)
