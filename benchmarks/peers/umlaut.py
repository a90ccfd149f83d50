"""UMLAUT's heuristics, as far as its repository holds them and a record can tell.

Source: BerkeleyHCI/umlaut, `umlaut/heuristics.py` at commit c7c6f00; the words of its errors in
`umserver/errors.py`. The CHI 2021 paper describes the tool; only its abstract was read. Two more
heuristics (learning rate, initialisation) are there as names without a body.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from benchmarks.peers.alarms import Peer, meaning, stated
from benchmarks.peers.columns import Columns, first


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """The limits that stand in the code."""

    input: float = stated(1.0, "heuristics.py, check_input_normalization, below -1 or above 1")


LIMITS = Thresholds()


def hears(columns: Columns) -> Mapping[str, int]:
    """Return the first step of each error; those that it raises before or in the first epoch at 0.

    Inputs: it takes the smallest and the largest of all data. The record has about the root mean
    square of the first batch; where that is over 1, some input is. Standardised inputs, of which
    the tool always warns as their largest is 2 or 3, are at the edge. Errs against an alarm, so
    in its favour on healthy trainings.
    """
    found: dict[str, int] = {}
    if columns.input_size > LIMITS.input:
        found["input_normalization"] = 0
    nan = first(columns.step, np.isnan(columns.loss) & ~np.asarray(
        columns.run.pulse["loss"].is_null()))  # fmt: skip
    if nan is not None:
        found["nan_loss"] = nan
    takes_probabilities = columns.operations & {"NllLoss", "NllLoss2D"}
    if takes_probabilities and "LogSoftmax" not in columns.operations:
        found["no_softmax"] = 0
    return found


PEER = Peer(
    name="UMLAUT",
    source="BerkeleyHCI/umlaut, umlaut/heuristics.py at c7c6f00",
    hears=hears,
    meanings={
        "input_normalization": meaning(
            "HW101 HW102 HW103 HW104 HW107 HW201 HW202 HW203",
            "unscaled-inputs input-shift",
            why="its words advise to normalise the inputs",
        ),
        "nan_loss": meaning(
            "HW102 HW201 HW203 HW301 HW303",
            "learning-rate-too-high",
            why="its words suspect a learning rate that is too high",
        ),
        "no_softmax": meaning(
            "HW201 HW202 HW301", "double-softmax output-range",
            why="the loss and the last layer do not fit",
        ),
    },
    left_out={
        "input_not_floating": "the inputs' type is not in the record",
        "overfitting, high validation accuracy": "no validation data",
        "learning rate, initialisation": "no body in the repository",
    },
)  # fmt: skip
