"""Amazon SageMaker Debugger's built-in rules at their defaults.

Source: the developer guide's page "List of Debugger built-in rules" (debugger-built-in-rules), the
section of each rule, and `sagemaker-docs/FirstPartyRules.md` of awslabs/sagemaker-debugger. The
rules' code is not public: where the words leave a choice, the choice and why stand at the rule.
The service looks at tensors when they are saved, at best every step; here it is every sample for
tensors and every step for losses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from benchmarks.peers.alarms import Peer, meaning, stated
from benchmarks.peers.columns import Activations, Columns, first
from scipy.special import ndtr


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """The parameters' default values, as the rules' tables have them."""

    gradient: float = stated(1e-7, "VanishingGradient, threshold")
    inactive_relus: float = stated(0.5, "DeadRelu, threshold_layer, 50 %")
    tanh: float = stated(
        9.4999, "SaturatedActivation, threshold_tanh_min and _max, -9.4999, 9.4999"
    )
    sigmoid_low: float = stated(-23.0, "SaturatedActivation, threshold_sigmoid_min")
    sigmoid_high: float = stated(16.99999, "SaturatedActivation, threshold_sigmoid_max")
    saturated: float = stated(0.5, "SaturatedActivation, threshold_layer, 50 %")
    variance_ratio: float = stated(10.0, "PoorWeightInitialization, threshold")
    gradient_range: float = stated(1e-3, "PoorWeightInitialization, distribution_range")
    first_steps: int = stated(10, "PoorWeightInitialization, steps")
    loss_steps: int = stated(10, "LossNotDecreasing, num_steps")
    loss_fall: float = stated(0.001, "LossNotDecreasing, diff_percent, 0.1 %")
    loss_rise: float = stated(0.05, "LossNotDecreasing, increase_threshold_percent, 5 %")
    large_update: float = stated(10.0, "WeightUpdateRatio, large_threshold")
    small_update: float = stated(1e-8, "WeightUpdateRatio, small_threshold")
    zero_share: float = stated(1.0, "AllZero, threshold, 100 %")
    unchanged_steps: int = stated(3, "UnchangedTensor, num_steps")
    relative: float = stated(1e-5, "UnchangedTensor, rtol")
    absolute: float = stated(1e-8, "UnchangedTensor, atol")


LIMITS = Thresholds()


def vanishing_gradient(columns: Columns) -> int | None:
    """Mean magnitude of a gradient's entries under the threshold.

    From exponent counts: right to some percent, 44 % at worst; nothing against seven decades.
    """
    return first(columns.samples, np.any(columns.mean_gradient < LIMITS.gradient, axis=1))


def exploding_tensor(columns: Columns) -> int | None:
    """A gradient, a weight or the loss is not finite.

    The record tells a null loss (none was scalar) from NaN; outputs are not looked at.
    """
    lossless = np.asarray(columns.run.pulse["loss"].is_null())
    at_steps = first(columns.step, (~np.isfinite(columns.loss) & ~lossless) | columns.broken)
    bad = np.any(columns.rows["weight_nonfinite_share"] > 0, axis=1)
    return _earlier(at_steps, first(columns.samples, bad))


def poor_weight_initialization(columns: Columns) -> int | None:
    """In the first ten steps: variances of the ReLUs' inputs apart, or a gradient of no width.

    The guide calls it the variance of weights in the table and of activation inputs in the text,
    whose default pattern is relu_input: so of those. A gradient's width from its 5th to its 95th
    percentile is taken as twice the 90 % point of its magnitudes, which is right for symmetric
    ones and too wide for others: errs against an alarm. The loss of the first steps, which the rule
    looks at too, makes no alarm alone here: LossNotDecreasing would give the same.
    """
    narrow = np.any(2 * columns.wide_gradient < LIMITS.gradient_range, axis=1)
    early = columns.samples < LIMITS.first_steps
    inputs = [one for one in columns.activations if one.operation == "Relu"]
    found = first(columns.samples, narrow & early)
    for step in columns.samples[early]:
        spreads = [float(v) for one in inputs for v in one.variance[one.step == step] if v > 0]
        if len(spreads) > 1 and max(spreads) > LIMITS.variance_ratio * min(spreads):
            return _earlier(found, int(step))
    return found


def saturated_activation(columns: Columns) -> int | None:
    """Over half of a tanh or sigmoid layer's units see inputs beyond the limits.

    The rule asks of each unit that under 1 % of its inputs be inside. The record has the layer's
    mean and variance: here, over half of a normal distribution of both lies outside, which a layer
    of mixed units reaches sooner. Errs towards an alarm.
    """
    found = None
    for one in columns.activations:
        if one.operation in {"Tanh", "Sigmoid"}:
            found = _earlier(found, first(one.step, _outside(one) > LIMITS.saturated))
    return found


def _outside(one: Activations) -> np.typing.NDArray[np.float64]:
    low, high = (-LIMITS.tanh, LIMITS.tanh)
    if one.operation == "Sigmoid":
        low, high = LIMITS.sigmoid_low, LIMITS.sigmoid_high
    spread = np.sqrt(np.maximum(one.variance, 1e-30))
    return np.asarray(1 - ndtr((high - one.mean) / spread) + ndtr((low - one.mean) / spread))


def dead_relu(columns: Columns) -> int | None:
    """Over half of a layer's ReLUs are active under 1 % of the time.

    The record counts units of which no entry of the batch is active; with batches of 64 that is
    under 1.6 %. Every sample counts, as the rule is called at every saved step.
    """
    found = None
    for one in columns.activations:
        if one.operation == "Relu":
            found = _earlier(found, first(one.step, one.dead > LIMITS.inactive_relus))
    return found


def loss_not_decreasing(columns: Columns) -> int | None:
    """Every ten steps: the loss fell by less than 0.1 %, or rose by more than 5 %.

    How the two limits go together is not said. Read here for the rule: a rise of up to 5 % is
    allowed, so an alarm needs a loss that stands still or one that rises by more.
    """
    loss, step = columns.loss[:: LIMITS.loss_steps], columns.step[:: LIMITS.loss_steps]
    before, after = loss[:-1], loss[1:]
    with np.errstate(all="ignore"):
        change = (after - before) / np.abs(before)
    still = (change > -LIMITS.loss_fall) & (change <= 0)
    return first(step[1:], still | (change > LIMITS.loss_rise))


def weight_update_ratio(columns: Columns) -> int | None:
    """A weight's update over the weight is above 10, or under 1e-8, a still one among them.

    Ratio of norms; the guide does not say of what. Biases are not of the collection, weights of
    all zeros have no ratio here (the rule adds a small constant to them and would give an alarm).
    """
    ratio = columns.rows["relative_update"][:, columns.weights]
    out = (ratio > LIMITS.large_update) | (ratio < LIMITS.small_update)
    return first(columns.samples, np.any(out, axis=1))


def all_zero(columns: Columns) -> int | None:
    """Every entry of a gradient is zero.

    The rule has no collection by default; gradients are the one that finds most here.
    """
    return first(columns.samples, np.any(columns.rows["zero_share"] >= LIMITS.zero_share, axis=1))


def unchanged_tensor(columns: Columns) -> int | None:
    """Three losses in a row are all but the same; losses are the collection of its example."""
    loss = columns.loss
    count = LIMITS.unchanged_steps
    if len(loss) < count:
        return None
    with np.errstate(all="ignore"):
        near = np.abs(np.diff(loss)) <= LIMITS.absolute + LIMITS.relative * np.abs(loss[:-1])
    runs = np.lib.stride_tricks.sliding_window_view(near, count - 1).all(axis=1)
    return first(columns.step[count - 1 :], runs)


def _earlier(one: int | None, other: int | None) -> int | None:
    return min((step for step in (one, other) if step is not None), default=None)


RULES = {
    "VanishingGradient": vanishing_gradient,
    "ExplodingTensor": exploding_tensor,
    "PoorWeightInitialization": poor_weight_initialization,
    "SaturatedActivation": saturated_activation,
    "DeadRelu": dead_relu,
    "LossNotDecreasing": loss_not_decreasing,
    "WeightUpdateRatio": weight_update_ratio,
    "AllZero": all_zero,
    "UnchangedTensor": unchanged_tensor,
}


def hears(columns: Columns) -> Mapping[str, int]:
    """Return the first step of each rule's alarm."""
    found = {name: rule(columns) for name, rule in RULES.items()}
    return {name: step for name, step in found.items() if step is not None}


PEER = Peer(
    name="SageMaker Debugger",
    source="developer guide, list of Debugger built-in rules",
    hears=hears,
    meanings={
        "VanishingGradient": meaning(
            "HW101 HW103 HW104 HW105 HW107 HW202 HW302",
            why="small gradients come of all of these; a symptom, no cause is named",
        ),
        "ExplodingTensor": meaning(
            "HW102 HW201 HW203 HW301 HW303",
            why="numbers that are not finite end a growth of any kind; no operation is named",
        ),
        "PoorWeightInitialization": meaning(
            "HW101 HW102 HW103 HW104 HW106 HW107 HW202",
            "weight-scale-too-small weight-scale-too-large non-zero-mean-init constant-init "
            "weight-init depth-beyond-trainable recurrent-contraction recurrent-expansion",
            why="its text says too small, too large and symmetric; which one it does not tell",
        ),
        "SaturatedActivation": meaning(
            "HW101 HW104 HW107 HW202", why="the symptom itself, and what it leads to"
        ),
        "DeadRelu": meaning("HW101 HW103 HW107 HW202", "dead-units", why="the symptom, as above"),
        "LossNotDecreasing": meaning(
            "HW101 HW102 HW103 HW104 HW105 HW106 HW107 HW201 HW202 HW203",
            why="a loss that does not fall can be any of them",
        ),
        "WeightUpdateRatio": meaning(
            "HW101 HW102 HW105 HW201 HW202 HW203",
            "learning-rate-too-high learning-rate-too-low update-below-precision not-in-optimiser "
            "detached",
            why="its text speaks of updates too large and too small: the step, or a still weight",
        ),
        "AllZero": meaning(
            "HW101 HW103 HW104 HW105 HW202 HW302", why="gradients of zero, for any reason"
        ),
        "UnchangedTensor": meaning(
            "HW101 HW103 HW104 HW105 HW106 HW107 HW202", why="a loss that stands still"
        ),
    },
    left_out={
        "TensorVariance": "both of its thresholds are None by default",
        "ClassImbalance, Confusion": "labels and predictions are not in the record",
        "Overfit, Overtraining": "no validation loss",
        "StalledTrainingRule": "of steps that no longer come, not of learning",
        "CheckInputImages, NLPSequenceRatio": "inputs are not in the record",
        "SimilarAcrossRuns": "compares with another run",
        "TreeDepth, FeatureImportanceOverweight": "XGBoost only",
    },
)
