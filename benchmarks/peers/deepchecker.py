"""TheDeepChecker's checks of initial state and of fitting, at its default settings.

Source: thedeepchecker/thedeepchecker at commit d0a2b3a: `deep_checker/config/settings.yaml` for
the thresholds, `deep_checker/checkers.py` (PreCheck) and `deep_checker/hooks.py` (OverfitCheck) for
what they are held against.

It trains 200 iterations on one batch of 50 examples of its own; here its checks look at the first
200 steps of the training itself, from the tenth on, at each sample. One batch is learnt by heart
and then left alone: here the checks end once the loss is a twentieth of the first, or of one where
that is more, in its favour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from benchmarks.peers.alarms import Peer, meaning, stated
from benchmarks.peers.columns import Columns, Floats, first
from scipy.special import expit, ndtr

SHAPES: Mapping[str, Callable[[Floats], Floats]] = {
    "Relu": lambda x: np.maximum(x, 0),
    "LeakyRelu": lambda x: np.maximum(x, 0.01 * x),
    "Tanh": np.tanh,
    "Sigmoid": expit,
    "Gelu": lambda x: x * ndtr(x),
    "Silu": lambda x: x * expit(x),
    "Elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
}
SQUASHING = frozenset({"Tanh", "Sigmoid"})


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """The settings' defaults."""

    f_critical: float = stated(2.70554, "metrics.py, pure_f_test; Initial_Weight, f_test_alpha 0.1")
    same: float = stated(1e-8, "checkers.py, _pre_check_weights, almost_equal(rtol=1e-8)")
    loss_off: float = stated(1.0, "settings.yaml, Initial_Loss, dev_ratio")
    start: int = stated(10, "settings.yaml, OverfitCheck, start")
    period: int = stated(10, "settings.yaml, OverfitCheck, period")
    iterations: int = stated(200, "checkers.py, run_full_checks(overfit_iters)")
    dead: float = stated(0.5, "settings.yaml, Activation, Dead, neurons_ratio_max_thresh")
    saturated: float = stated(
        0.5, "settings.yaml, Activation, Saturation, neurons_ratio_max_thresh"
    )
    narrow: float = stated(0.5, "settings.yaml, Activation, Distribution, std_acts_min_thresh")
    wide: float = stated(2.0, "settings.yaml, Activation, Distribution, std_acts_max_thresh")
    dead_weight: float = stated(1e-5, "settings.yaml, Weight, Dead, value_min_thresh")
    large_weight: float = stated(1e8, "settings.yaml, Weight, Diverging, mav_max_thresh")
    growth: float = stated(2.0, "settings.yaml, Weight and Gradient, inc_rate_max_thresh")
    window: int = stated(5, "settings.yaml, window_size of each")
    small_gradient: float = stated(1e-6, "settings.yaml, Gradient, Vanishing, mav_min_thresh")
    decay: float = stated(0.5, "settings.yaml, Gradient, Vanishing, dec_rate_min_thresh")
    large_gradient: float = stated(1e6, "settings.yaml, Gradient, Exploding, mav_max_thresh")
    fast: float = stated(-1.0, "settings.yaml, Unstable_Learning, high_updates_max_thresh")
    slow: float = stated(-4.0, "settings.yaml, Unstable_Learning, low_updates_min_thresh")
    loss_fall: float = stated(0.05, "settings.yaml, Loss, NonDecreasing, decr_percentage")
    loss_growth: float = stated(2.0, "settings.yaml, Loss, Diverging, incr_abs_rate_max_thresh")
    smooth: float = stated(0.5, "settings.yaml, Loss, Fluctuating, smoothness_ratio_min_thresh")
    smooth_window: int = stated(50, "settings.yaml, Loss, Fluctuating, window_size")


LIMITS = Thresholds()
LEARNT = 0.05
"""Share of the first loss, or of 1, at which the batch counts as learnt; ours, as said above."""

Found = Iterator[tuple[str, int | None]]


def hears(columns: Columns) -> Mapping[str, int]:
    """Return the first step of each message."""
    until = _until(columns)
    found: dict[str, int] = {}
    checks = (_weights, _biases, _first_loss, _numbers, _activations, _movement, _gradients, _loss)
    for check in checks:
        for name, step in check(columns):
            if step is not None and step <= until:
                found[name] = min(step, found.get(name, step))
    return found


def _until(columns: Columns) -> int:
    if not len(columns.loss):
        return -1
    parts = [part.mean() for part in _periods(columns.loss)]
    learnt = np.flatnonzero(np.array(parts) < LEARNT * max(columns.loss[0], 1.0))
    end = LIMITS.period * int(learnt[0]) if len(learnt) else LIMITS.iterations
    return min(end, LIMITS.iterations)


def _periods(values: Floats) -> list[Floats]:
    return [values[at : at + LIMITS.period] for at in range(0, len(values), LIMITS.period)]


def _weights(columns: Columns) -> Found:
    """A matrix without variance, or with one that the usual initialisations would not give.

    The variance is taken about zero, as the record has no mean of the weights. Magnitudes that are
    all the same count as no variance, whatever their signs; errs towards an alarm.
    """
    named = [one.operation for one in columns.activations]
    chief = max(set(named), key=named.count, default="")
    for at in columns.weights:
        shape, norm = columns.parameters[at].shape, columns.rows["weight_norm"]
        size = math.prod(shape)
        if not len(norm) or not math.isfinite(norm[0, at]):
            continue
        sums, units = columns.unit_sums.get(at, (np.empty(0), 0))
        variance = norm[0, at] ** 2 / size
        mean = sums.sum() / size if len(sums) == units else 0.0
        if variance - mean**2 <= LIMITS.same or variance <= LIMITS.same:
            yield "poor_init", 0
        elif not _usual(variance, shape, chief):
            yield "unusual_init", 0


def _usual(variance: float, shape: tuple[int, ...], chief: str) -> bool:
    into, out = math.prod(shape[1:]), shape[0] * math.prod(shape[2:])
    lecun, he, glorot = 1 / into, 2 / into, 2 / (into + out)
    wanted = {"Relu": (he,), "Tanh": (glorot,), "Sigmoid": (lecun,)}.get(chief, (lecun, he, glorot))
    ratios = [max(variance / one, one / variance) for one in wanted]
    return min(ratios) <= LIMITS.f_critical


def _biases(columns: Columns) -> Found:
    """Biases that do not start at zero, of classifiers; the rule sums them, this takes the norm."""
    norm = columns.rows["weight_norm"]
    if len(norm) and _classes(columns) and np.any(norm[0, columns.biases] > 0):
        yield "zero_bias", 0


def _first_loss(columns: Columns) -> Found:
    """A classifier's first loss off log(classes) by as much again."""
    classes = _classes(columns)
    if classes > 1 and len(columns.loss):
        off = abs(columns.loss[0] - math.log(classes))
        if off >= LIMITS.loss_off * math.log(classes):
            yield "poor_init_loss", 0


def _classes(columns: Columns) -> int:
    if not columns.operations & {"NllLoss", "NllLoss2D"} or not len(columns.weights):
        return 0
    return columns.parameters[columns.weights[-1]].shape[0]


def _numbers(columns: Columns) -> Found:
    lossless = np.asarray(columns.run.pulse["loss"].is_null())
    yield "not_finite", first(columns.step, (~np.isfinite(columns.loss) & ~lossless))
    yield "not_finite", first(columns.step, columns.broken)
    bad = np.any(columns.rows["weight_nonfinite_share"] > 0, axis=1)
    yield "not_finite", first(columns.samples, bad)


def _activations(columns: Columns) -> Found:
    """Dead or saturated units in over half of a layer, or outputs spread too little or too much.

    Dead: here for every example of the batch, there for 95 % of a buffer of them; errs against an
    alarm. Saturated: a unit's mean slope under 5 % of the steepest, for its histogram's rho over
    0.85. Spread: of the outputs that a normal input of the recorded mean and variance would give.
    """
    for one in columns.activations:
        late = one.step >= LIMITS.start
        if one.operation in SQUASHING:
            yield "saturated", first(one.step, late & (one.saturated_units > LIMITS.saturated))
        else:
            yield "dead", first(one.step, late & (one.dead > LIMITS.dead))
        if one.operation in SHAPES:
            spread = one.outputs(SHAPES[one.operation]).std(axis=1)
            margin = math.sqrt(LIMITS.f_critical)
            odd = (spread < LIMITS.narrow / margin) | (spread > LIMITS.wide * margin)
            yield "unstable_activations", first(one.step, late & odd)


def _movement(columns: Columns) -> Found:
    """Weights that are still, move too fast or too slowly, are dead, or grow.

    Ratios of norms for ratios of mean magnitudes; one sample for the mean of ten steps, and growth
    from sample to sample for that from step to step: all err towards an alarm.
    """
    late, at = columns.samples >= LIMITS.start, columns.weights
    ratio = columns.rows["relative_update"][:, at]
    with np.errstate(divide="ignore"):
        decades = np.log10(ratio)
    yield "w_untrained", first(columns.samples, late & np.any(ratio == 0, axis=1))
    yield "w_fast", first(columns.samples, late & np.any(decades > LIMITS.fast, axis=1))
    slow = (decades < LIMITS.slow) & (ratio > 0)
    yield "w_slow", first(columns.samples, late & np.any(slow, axis=1))
    sizes = np.array([math.sqrt(math.prod(columns.parameters[one].shape)) for one in at])
    norm = columns.rows["weight_norm"][:, at] / sizes
    small = np.any(norm < LIMITS.dead_weight, axis=1)
    yield "w_dead", first(columns.samples, late & small)
    large = np.any(norm > LIMITS.large_weight, axis=1) | _each(
        norm, LIMITS.growth, np.greater_equal
    )
    yield "w_diverging", first(columns.samples, late & large)


def _gradients(columns: Columns) -> Found:
    """Gradients of weights too small or too large, or four times in a row halved or doubled.

    Mean magnitude from exponent counts at samples; rates from the norms of each step.
    """
    at = columns.weights
    size, late = columns.mean_gradient[:, at], columns.samples >= LIMITS.start
    small, large = size < LIMITS.small_gradient, size > LIMITS.large_gradient
    yield "vanishing", first(columns.samples, late & np.any(small, axis=1))
    yield "exploding", first(columns.samples, late & np.any(large, axis=1))
    norm = columns.gradient[:, at]
    due = (columns.step >= LIMITS.start) & (columns.step % LIMITS.period == 0)
    yield "vanishing", first(columns.step, due & _each(norm, LIMITS.decay, np.less_equal))
    yield "exploding", first(columns.step, due & _each(norm, LIMITS.growth, np.greater_equal))


def _each(values: Floats, rate: float, compare: np.ufunc) -> np.typing.NDArray[np.bool_]:
    """Say where a column's last four ratios are all on one side of a rate, ``[row]``."""
    found = np.zeros(len(values), dtype=bool)
    ratios = LIMITS.window - 1
    if len(values) > ratios:
        with np.errstate(all="ignore"):
            hit = compare(values[1:] / values[:-1], rate)
        runs = np.lib.stride_tricks.sliding_window_view(hit, ratios, axis=0).all(axis=-1)
        found[ratios:] = runs.any(axis=1)
    return found


def _loss(columns: Columns) -> Found:
    """Means of ten losses: falling too slowly, growing, or turning too often.

    On batches that change, where it has one: errs towards an alarm.
    """
    loss = np.array([part.mean() for part in _periods(columns.loss)])
    for number in range(LIMITS.window, len(loss) + 1):
        last, step = loss[number - LIMITS.window : number], LIMITS.period * (number - 1)
        with np.errstate(all="ignore"):
            if np.all((last[:-1] - last[1:]) / last[:-1] < LIMITS.loss_fall):
                yield "stagnated_loss", step
            if np.all(last[1:] / last[:-1] >= LIMITS.loss_growth):
                yield "div_loss", step
            seen = loss[max(0, number - LIMITS.smooth_window) : number]
            turns = np.count_nonzero(np.diff((seen[1:] / seen[:-1] > 1).astype(int)))
        if (len(seen) - turns) / len(seen) < LIMITS.smooth:
            yield "fluctuated_loss", step


_WEIGHTS = (
    "weight-scale-too-small weight-scale-too-large non-zero-mean-init constant-init weight-init "
    "depth-beyond-trainable recurrent-contraction recurrent-expansion"
)
_STILL = "HW101 HW103 HW104 HW105 HW106 HW107 HW202"
_LARGE = "HW102 HW103 HW104 HW201 HW202 HW203 HW301 HW303"

PEER = Peer(
    name="TheDeepChecker",
    source="thedeepchecker/thedeepchecker at d0a2b3a, deep_checker/config/settings.yaml",
    hears=hears,
    meanings={
        "poor_init": meaning(_STILL, "constant-init", why="its words: symmetry is not broken"),
        "unusual_init": meaning(
            f"{_STILL} HW102 HW201", _WEIGHTS, why="its words advise another initialisation"
        ),
        "zero_bias": meaning(
            "HW101 HW103 HW104 HW202", "negative-bias", why="its words advise biases of zero"
        ),
        "poor_init_loss": meaning(
            f"{_LARGE} HW101 HW107",
            "loss-reduction double-softmax unscaled-targets weight-scale-too-large",
            why="a first loss that is off can come of what makes the loss, or of the weights",
        ),
        "not_finite": meaning("HW102 HW201 HW203 HW301 HW303", why="names no operation"),
        "saturated": meaning("HW101 HW104 HW107 HW202", why="the symptom"),
        "dead": meaning("HW101 HW103 HW107 HW202", "dead-units", why="the symptom"),
        "unstable_activations": meaning(
            f"{_STILL} {_LARGE}",
            "unscaled-inputs input-shift weight-scale-too-small weight-scale-too-large",
            why="outputs too narrow or too wide, for which inputs or weights are out of scale",
        ),
        "w_untrained": meaning(
            "HW101 HW103 HW105 HW202", "not-in-optimiser detached update-below-precision",
            why="its words: the weights do not change",
        ),
        "w_fast": meaning(_LARGE, "learning-rate-too-high", why="its words: too quickly"),
        "w_slow": meaning(
            "HW101 HW104 HW105 HW107 HW202", "learning-rate-too-low update-below-precision",
            why="its words: they change too slowly",
        ),
        "w_dead": meaning(_STILL, "weight-scale-too-small", why="weights all but zero"),
        "w_diverging": meaning(_LARGE, "learning-rate-too-high", why="weights that grow"),
        "vanishing": meaning(f"{_STILL} HW302", why="small gradients, of any cause"),
        "exploding": meaning(_LARGE, why="large gradients, of any cause"),
        "stagnated_loss": meaning(f"{_STILL} {_LARGE}", why="a loss that does not fall can be any"),
        "div_loss": meaning(_LARGE, "learning-rate-too-high", why="a loss that grows"),
        "fluctuated_loss": meaning(
            _LARGE, "learning-rate-too-high momentum-too-high", why="a loss that swings"
        ),
    },
    left_out={
        "features and targets unnormalised, unbalanced labels": "data are not in the record",
        "negative weights": "signs are not in the record",
        "poor_reduction_loss, numerical gradients, one batch by heart, dependence on data and on "
        "other examples": "they run the model again",
        "validity and range of outputs": "outputs are not in the record",
        "representativeness, regularisation": "no accuracy, no separate loss",
        "corrupted labels, augmentation, training against test mode": "trainings of its own",
    },
)  # fmt: skip
