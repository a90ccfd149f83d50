"""AUTOTRAINER's detector of five training problems, at its default parameters.

Source: shiningrain/AUTOTRAINER, `AutoTrainer/utils/monitor.py` at commit 04f4033 (the five problems
of the ICSE 2021 paper; later ones add checks of a Keras model's last layer): the comment
`default_param` of `IssueMonitor`, and the default arguments of `loss_issue`. The paper itself was
not read.

It looks at accuracies of each epoch on training and test data. The record has losses only: an
epoch's accuracy is taken as exp(-mean loss) where the loss is a negative log likelihood, the
geometric mean of the probability given to the right class. Else it is the share of the first
epoch's loss that is gone, or one less the loss where that is more, which is the variance explained
of standardised targets: a training that goes on from a good start is accurate, in its favour. The
record does not tell an epoch from the next: a thirtieth of the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from benchmarks.peers.alarms import Peer, meaning, stated
from benchmarks.peers.columns import Columns, Floats

EPOCHS = 30
"""Parts of a run that stand for epochs; 512 examples in batches of 64 make 8 steps, of 240."""


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """The default parameters, by their Greek names in the source."""

    ratio_low: float = stated(1e-3, "monitor.py, default_param beta_1")
    first_low: float = stated(1e-4, "monitor.py, default_param beta_2")
    ratio_high: float = stated(70.0, "monitor.py, default_param beta_3")
    zeros: float = stated(0.7, "monitor.py, default_param gamma")
    swing: float = stated(0.03, "monitor.py, default_param zeta")
    swings: float = stated(0.2, "monitor.py, default_param eta")
    slow: float = stated(0.01, "monitor.py, default_param delta")
    accurate: float = stated(0.7, "monitor.py, default_param Theta")
    from_part: float = stated(0.3, "monitor.py, loss_issue(judgment_point)")
    large_loss: float = stated(1e5, "monitor.py, loss_issue, test_loss[-1] >= 1e+5")


LIMITS = Thresholds()


def first_over_last(columns: Columns) -> Floats:
    """Return the first weight's gradient norm over the last's, ``[step]``."""
    norms = columns.gradient[:, columns.weights]
    with np.errstate(all="ignore"):
        return np.asarray(norms[:, 0] / norms[:, -1]) if norms.shape[1] else np.empty(0)


def accuracies(columns: Columns) -> Floats:
    """Return what stands for the training accuracy of each epoch."""
    losses = [float(np.mean(part)) for part in np.array_split(columns.loss, EPOCHS) if len(part)]
    loss = np.array(losses)
    with np.errstate(all="ignore"):
        if columns.operations & {"NllLoss", "NllLoss2D"}:
            return np.exp(-loss)
        return np.maximum(1 - loss / loss[0], 1 - loss) if len(loss) else loss


def hears(columns: Columns) -> Mapping[str, int]:
    """Return the problem that it reports, and when: the first one ends its search.

    Gradients are looked at once an epoch, in its first batch, as there; the share of zero entries
    at the sample next to it.
    """
    if not len(columns.loss):
        return {}
    parts = [part for part in np.array_split(np.arange(len(columns.loss)), EPOCHS) if len(part)]
    accuracy, ratio = accuracies(columns), first_over_last(columns)
    vanished = exploded = died = 0
    for epoch, rows in enumerate(parts):
        at = int(columns.step[rows[-1]])
        if _broken(columns, rows):
            return {"explode": at}
        vanished += _vanished(columns, ratio, int(rows[0]))
        exploded += bool(len(ratio) and ratio[rows[0]] > LIMITS.ratio_high)
        died += _zeros(columns, int(columns.step[rows[0]])) >= LIMITS.zeros
        if epoch + 1 < LIMITS.from_part * len(parts):
            continue
        told = _told(accuracy[: epoch + 1], died, exploded, vanished)
        if told:
            return {told: at}
    return {}


def _told(accuracy: Floats, died: int, exploded: int, vanished: int) -> str:
    slow = len(accuracy) > 1 and max(np.diff(accuracy).max(), 0.0) < LIMITS.slow
    if slow or not accuracy.max() >= LIMITS.accurate:
        if died:
            return "relu"
        if exploded:
            return "explode"
        if vanished:
            return "vanish"
        return "not_converge" if slow else ""
    return "unstable" if _swings(accuracy) else ""


def _broken(columns: Columns, rows: np.typing.NDArray[np.int64]) -> bool:
    loss = columns.loss[rows]
    lossless = np.asarray(columns.run.pulse["loss"].is_null())[rows]
    not_finite = bool(np.any(~np.isfinite(loss) & ~lossless) or np.any(columns.broken[rows]))
    return not_finite or bool(np.mean(loss) >= LIMITS.large_loss)


def _vanished(columns: Columns, ratio: Floats, row: int) -> bool:
    if not len(ratio):
        return False
    size = columns.gradient[row, columns.weights[0]]
    return bool(ratio[row] < LIMITS.ratio_low and size < LIMITS.first_low)


def _zeros(columns: Columns, step: int) -> float:
    if not len(columns.samples):
        return 0.0
    near = int(np.argmin(np.abs(columns.samples - step)))
    sizes = np.array([info.elements for info in columns.parameters], dtype=np.float64)
    shares = columns.rows["zero_share"][near]
    known = np.isfinite(shares)
    return float(shares[known] @ sizes[known] / sizes[known].sum()) if known.any() else 0.0


def _swings(accuracy: Floats) -> bool:
    inner, left, right = accuracy[1:-1], accuracy[:-2], accuracy[2:]
    highs = inner[(inner >= left) & (inner >= right)]
    lows = inner[(inner <= left) & (inner <= right)]
    pairs = min(len(highs), len(lows))
    count = int(np.sum(highs[:pairs] - lows[:pairs] >= LIMITS.swing))
    return count >= LIMITS.swings * len(accuracy)


PEER = Peer(
    name="AUTOTRAINER",
    source="shiningrain/AUTOTRAINER, AutoTrainer/utils/monitor.py at 04f4033",
    hears=hears,
    meanings={
        "vanish": meaning("HW101 HW103 HW104 HW105 HW107 HW202 HW302", why="small gradients"),
        "explode": meaning(
            "HW102 HW201 HW203 HW301 HW303", why="a large ratio, or numbers that are not finite"
        ),
        "relu": meaning("HW101 HW103 HW105 HW202", "dead-units", why="zeros in the gradients"),
        "unstable": meaning(
            "HW102 HW201 HW203 HW202",
            why="a swinging accuracy; steps of any kind that are too large",
        ),
        "not_converge": meaning(
            "HW101 HW102 HW103 HW104 HW105 HW106 HW107 HW201 HW202 HW203",
            why="an accuracy that does not rise can be any of them",
        ),
    },
    left_out={
        "overfit": "commented out in the source, and no test data in the record",
        "test accuracies": "training ones stand for both",
        "later problems (loss, data, activation of the last layer)": "they read a Keras model",
    },
)
