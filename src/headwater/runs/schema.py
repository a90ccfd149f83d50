"""The record's tables and its ``run.json``: names, types, units, version.

A run folder holds ``run.json`` (replaced whole, atomically), ``pulse.arrow``,
``parameters.arrow`` and ``sites.arrow`` (append-only Arrow IPC streams, one record batch a
flush), and ``findings.json`` once it has been judged. ``docs/record.md`` describes each column.
"""

from __future__ import annotations

from typing import Literal, get_args

import pyarrow as pa

from headwater.runs.info import VERSION

__all__ = ["PARAMETERS", "PULSE", "SCHEMAS", "SITES", "TABLE_NAMES", "VERSION", "TableName"]

TableName = Literal["pulse", "parameters", "sites"]
TABLE_NAMES: tuple[TableName, ...] = get_args(TableName)

PULSE = pa.schema(
    [
        ("step", pa.int64()),
        ("time_s", pa.float64()),
        ("step_ms", pa.float64()),
        ("optimiser", pa.int32()),
        ("loss", pa.float64()),
        ("backwards", pa.int32()),
        ("loss_scale", pa.float64()),
        ("skipped", pa.bool_()),
        ("sampled", pa.bool_()),
        ("total_norm", pa.float64()),
        ("gradient_norms", pa.list_(pa.float64())),
        ("update_norm", pa.float64()),
        ("slope", pa.float64()),
        ("slope_after", pa.float64()),
    ]
)

PARAMETERS = pa.schema(
    [
        ("step", pa.int64()),
        ("parameter", pa.int32()),
        ("optimiser", pa.int32()),
        ("learning_rate", pa.float64()),
        ("raw_norm", pa.float64()),
        ("unscaled_norm", pa.float64()),
        ("clipped_norm", pa.float64()),
        ("applied_norm", pa.float64()),
        ("gradient_max", pa.float64()),
        ("zero_share", pa.float64()),
        ("subnormal_share", pa.float64()),
        ("nonfinite_share", pa.float64()),
        ("weight_norm", pa.float64()),
        ("weight_nonfinite_share", pa.float64()),
        ("spectral_radius", pa.float64()),
        ("relative_update", pa.float64()),
        ("lost_share", pa.float64()),
        ("units", pa.int32()),
        ("unit_l1", pa.list_(pa.float64())),
        ("gradient_exponent", pa.int32()),
        ("gradient_counts", pa.list_(pa.int64())),
        ("gradient_zeros", pa.int64()),
        ("gradient_nonfinites", pa.int64()),
    ]
)

SITES = pa.schema(
    [
        ("step", pa.int64()),
        ("backward", pa.int32()),
        ("node", pa.int32()),
        ("parent", pa.int32()),
        ("site", pa.int32()),
        ("call", pa.int32()),
        ("edge_decades", pa.float64()),
        ("junction_decades", pa.float64()),
        ("level", pa.float64()),
        ("gain", pa.float64()),
        ("elements", pa.int64()),
        ("parameter", pa.int32()),
        ("units", pa.int32()),
        ("dead", pa.float64()),
        ("dead_recent", pa.float64()),
        ("dead_run", pa.float64()),
        ("saturated", pa.float64()),
        ("saturated_units", pa.float64()),
        ("mean", pa.float64()),
        ("variance", pa.float64()),
        ("first_direction", pa.float64()),
        ("dtype", pa.string()),
        ("input_largest", pa.float64()),
        ("output_dtype", pa.string()),
        ("output_largest", pa.float64()),
        ("output_exponent", pa.int32()),
        ("output_counts", pa.list_(pa.int64())),
        ("output_zeros", pa.int64()),
        ("output_nonfinites", pa.int64()),
        ("target_mean", pa.float64()),
        ("target_variance", pa.float64()),
        ("target_least", pa.float64()),
        ("target_largest", pa.float64()),
        ("target_entropy", pa.float64()),
    ]
)

SCHEMAS: dict[TableName, pa.Schema] = {"pulse": PULSE, "parameters": PARAMETERS, "sites": SITES}
