"""Other tools that watch trainings, re-stated as functions of a record, to be scored on the corpus.

Each file is a tool: its rules with the source of every threshold, what the record lacks to restate
them exactly and in whose favour the nearest figure errs, and what its alarms can mean. Nothing is
copied; the tools themselves need another framework, a service, or the data.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from benchmarks.peers import autotrainer, deepchecker, sagemaker, umlaut
from benchmarks.peers.alarms import Alarm, Peer
from benchmarks.peers.columns import Columns

from headwater.runs.reader import Run

PEERS: Sequence[Peer] = (sagemaker.PEER, autotrainer.PEER, deepchecker.PEER, umlaut.PEER)


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What the peers say of a run.

    ``ratio`` is the first weight's gradient norm over the last's at the end, ``first`` the first's
    alone: what AUTOTRAINER judges by, NaN where there is none.
    """

    alarms: Mapping[str, Sequence[Alarm]]
    ratio: float
    first: float


def judge(run: Run) -> Heard:
    """Return what each peer says of a run, over all of it."""
    with np.errstate(all="ignore"):  # a broken training's figures divide by zero and overflow
        return _judge(Columns(run))


def _judge(columns: Columns) -> Heard:
    ratio = autotrainer.first_over_last(columns)
    firsts = columns.gradient[:, columns.weights[0]] if len(ratio) else ratio
    return Heard(
        alarms={peer.name: peer.judge(columns) for peer in PEERS},
        ratio=float(ratio[-1]) if len(ratio) else math.nan,
        first=float(firsts[-1]) if len(firsts) else math.nan,
    )
