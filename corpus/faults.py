"""The mistakes: for every cause of the design's table, changes to a recipe at several strengths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from corpus.recipes import Recipe

Change = Mapping[str, Any]
CHAINS = frozenset({"mlp", "cnn", "autoencoder"})
LOOPS = frozenset({"rnn"})
ALL = CHAINS | LOOPS | {"lstm", "gru", "transformer"}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One cause and how to inject it.

    ``codes`` are the symptoms any of which detects it, ``causes`` the names that are right.
    ``changes`` are the strengths. ``sites`` are the marks of the lines that are right, empty where
    no line exists (a learning rate has none). ``layer`` says that the fault stands in one layer,
    ``factual`` that it is one whether or not the network learns around it.
    """

    name: str
    codes: frozenset[str]
    causes: frozenset[str]
    changes: Sequence[Change]
    networks: frozenset[str]
    sites: frozenset[str] = frozenset()
    layer: bool = False
    factual: bool = False
    tasks: frozenset[str] = frozenset()
    fits: Callable[[Recipe], bool] = field(default=lambda _recipe: True)


def apply(recipe: Recipe, change: Change) -> Recipe:
    """Return the recipe with a change made; a number given as a function gets the old one."""
    values = {
        name: value(getattr(recipe, name)) if callable(value) else value
        for name, value in change.items()
    }
    return replace(recipe, **values)


def times(factor: float) -> Callable[[float], float]:
    """Return what multiplies a field."""
    return lambda old: old * factor


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


ACTIVATIONS = _set("activation convolution-activation coder loop block-activation")
WEIGHTS = _set("weights convolution coder loop block-weights")
HIDDEN = ACTIVATIONS | WEIGHTS
DETACH = _set("detach convolution-detach coder-detach loop-detach block-detach")


def _fault(name: str, codes: str, causes: str, changes: Sequence[Change], **more: Any) -> Fault:
    networks = more.pop("networks", CHAINS)
    symptoms = _set(codes)
    if "HW201" in symptoms:  # a loss that diverges for long enough leaves its format's range
        symptoms |= {"HW301"}
    return Fault(
        name=name, codes=symptoms, causes=_set(causes), changes=changes, networks=networks, **more
    )


SOME_CLASSES = _set("moons digits wine")
NUMBERS = _set("diabetes waves reconstruction")
SOME = SOME_CLASSES | NUMBERS - {"waves"}
_NOT_NORMED: dict[str, Any] = {"norm": "", "residual": ""}
_STUCK = "HW101 HW202 "
_ENDLESS = "HW201 HW303 HW301 HW102"

FAULTS: Sequence[Fault] = (
    _fault(
        "deep-sigmoid", _STUCK, "inherent-derivative",
        [{"activation": "sigmoid", "depth": depth, "weights": "xavier", **_NOT_NORMED}
         for depth in (6, 8, 12)],
        networks=frozenset({"mlp", "autoencoder"}), sites=HIDDEN,
    ),
    _fault(
        "small-weights", _STUCK, "weight-scale-too-small",
        [{"weight_scale": scale, "depth": 6, **_NOT_NORMED} for scale in (0.02, 0.1, 0.2)],
        sites=HIDDEN,
    ),
    _fault(
        "too-deep", _STUCK + "HW107 HW103", "depth-beyond-trainable inherent-derivative "
        "ordered-phase",
        [{"depth": 40, "activation": "tanh", "weights": "xavier", "weight_scale": 0.7,
          **_NOT_NORMED},
         {"depth": 24, "activation": "relu", "weight_scale": 0.6, **_NOT_NORMED}],
        networks=frozenset({"mlp"}), sites=HIDDEN,
    ),
    _fault(
        "forgetting-loop", _STUCK, "recurrent-contraction inherent-derivative",
        [{"weight_scale": scale, "task": "first-bit", "optimiser": "sgd", "rate": 0.1,
          "steps": 480} for scale in (0.1, 0.3, 0.5)],  # under Adam it finds its way out
        networks=LOOPS, sites=frozenset({"loop"}),
    ),
    _fault(
        "growing-loop", "HW102 HW201 HW104 HW202 HW203", "recurrent-expansion "
        "weight-scale-too-large",
        [{"weight_scale": scale} for scale in (4.0, 8.0)],
        networks=LOOPS, sites=frozenset({"loop"}),
    ),
    _fault(
        "large-weights", "HW102 HW104 HW201 HW202", "weight-scale-too-large",
        [{"weight_scale": scale, "depth": 6, **_NOT_NORMED} for scale in (5.0, 10.0, 30.0)],
        sites=HIDDEN,
    ),
    _fault(
        "saturating-weights", "HW104 HW202 HW101", "weight-scale-too-large",
        [{"activation": "tanh", "weights": "xavier", "weight_scale": scale, "depth": 5,
          **_NOT_NORMED} for scale in (5.0, 20.0)],
        sites=ACTIVATIONS | WEIGHTS,
    ),
    _fault(
        "one-mean", "HW104 HW107 HW202 HW101 HW103", "non-zero-mean-init weight-init "
        "constant-init",
        [{"activation": "tanh", "weights": "xavier", "weight_mean": mean, "depth": 5,
          **_NOT_NORMED} for mean in (1.7, 4.0)],
        sites=HIDDEN,
    ),
    _fault(
        "negative-mean", "HW103 HW202 HW101", "weight-init non-zero-mean-init",
        [{"activation": "relu", "weight_mean": mean, "depth": 4, **_NOT_NORMED}
         for mean in (-1.5, -4.0)],
        sites=HIDDEN,
    ),
    _fault(
        "negative-bias", "HW103 HW202 HW101", "negative-bias",
        [{"activation": "relu", "bias": bias, "depth": 4, **_NOT_NORMED}
         for bias in (-2.0, -5.0)],
        sites=HIDDEN,
    ),
    _fault(
        "dead-layer", "HW103 HW202", "negative-bias",
        [{"activation": "relu", "bias": bias, "layer": 1, **_NOT_NORMED}
         for bias in (-30.0, -100.0)],
        sites=HIDDEN, layer=True,
    ),
    _fault(
        "shifted-inputs", "HW102 HW103 HW104 HW201 HW202 HW203", "input-shift unscaled-inputs",
        [{"input_shift": 30.0, "input_scale": 0.3}, {"input_shift": 300.0}],
        tasks=frozenset("circles moons digits cancer wine waves".split()),
    ),
    _fault(
        "raw-inputs", "HW102 HW103 HW104 HW201 HW202 HW203", "unscaled-inputs",
        [{"input_scale": scale} for scale in (30.0, 300.0)],
        tasks=frozenset("circles moons digits cancer wine waves".split()),
    ),
    _fault(
        "raw-inputs-tanh", "HW104 HW202 HW101", "unscaled-inputs",
        [{"input_scale": scale, "activation": "tanh", "weights": "xavier"}
         for scale in (30.0, 300.0)],
        sites=ACTIVATIONS, tasks=frozenset("circles moons digits cancer wine waves".split()),
    ),
    _fault(
        "raw-targets", "HW102 HW201 HW202 HW203 HW103", "unscaled-targets",
        [{"target_scale": scale, "target_shift": 2 * scale, "optimiser": "sgd", "rate": rate}
         for scale, rate in ((77.0, 0.01), (1000.0, 0.001))],
        tasks=frozenset({"diabetes", "waves", "adding"}), networks=ALL,
    ),
    _fault(
        "summed-loss", "HW102 HW201 HW202 HW203 HW103", "loss-reduction",
        [{"reduction": "sum", "optimiser": "sgd", "rate": rate} for rate in (0.05, 0.3)],
        networks=ALL,
    ),
    _fault(
        "huge-rate", "HW201 HW203 HW103 HW104 HW102 HW202", "learning-rate-too-high",
        [{"rate": times(30.0)}, {"rate": times(100.0)}, {"rate": times(1000.0)}],
        networks=ALL,
    ),
    _fault(
        "huge-rate-sgd", "HW201 HW203 HW103 HW104 HW102 HW202", "learning-rate-too-high",
        [{"optimiser": "sgd", "rate": rate} for rate in (3.0, 30.0)],
        networks=ALL,
    ),
    _fault(
        "momentum", "HW203 HW201 HW102 HW103 HW202", "momentum-too-high",
        [{"optimiser": "sgd", "rate": rate, "momentum": momentum}
         for rate, momentum in ((0.05, 0.99), (0.05, 0.999))],
        networks=ALL,
    ),
    _fault(
        "kept-gradients", "HW201 HW203 HW202 HW102 HW103 HW104", "gradients-not-zeroed",
        [{"zero_grad": False, "optimiser": "sgd", "rate": 0.1}, {"zero_grad": False}],
        networks=ALL,
    ),
    _fault(
        "tiny-rate", "HW202 HW105", "learning-rate-too-low update-below-precision",
        [{"rate": times(1e-4)}, {"rate": times(1e-6)}], networks=ALL,
    ),
    _fault(
        "softmax-twice", "HW202", "double-softmax",
        [{"output": "softmax", "optimiser": "sgd", "rate": 0.01}, {"output": "softmax"}],
        networks=ALL, sites=frozenset({"softmax"}), factual=True,
        tasks=frozenset("circles moons digits cancer wine first-bit tokens".split()),
    ),
    _fault(
        "wrong-output", "HW202 HW103", "output-range dead-units",
        [{"output": "relu"}, {"output": "sigmoid", "target_scale": 30.0, "target_shift": 60.0}],
        networks=ALL, sites=frozenset({"output", "output-relu"}),
        tasks=frozenset({"diabetes", "waves", "adding"}),
    ),
    _fault(
        "shuffled-labels", "HW202", "labels-independent-of-inputs", [{"labels": "shuffled"}],
        networks=ALL,
    ),
    _fault(
        "not-held", "HW105", "not-in-optimiser", [{"held": "head"}, {"held": "body"}],
        networks=ALL, factual=True,
    ),
    _fault(
        "detached", "HW105", "detached", [{"detach_at": 0}, {"detach_at": 1}],
        networks=CHAINS | LOOPS | {"transformer"}, factual=True, sites=DETACH,
    ),
    _fault(
        "misordered", "HW105 HW202", "step-before-backward",
        [{"order": "step-first"}, {"order": "zero-between"}],
        networks=ALL, sites=frozenset({"early-step", "late-zero"}),
    ),
    _fault(
        "softmax-of-one", "HW202", "softmax-over-one", [{"output": "softmax-of-one"}],
        networks=ALL, sites=frozenset({"softmax-of-one"}),
        tasks=frozenset({"circles", "moons", "cancer", "first-bit"}),
    ),
    _fault(
        "coarse-weights", "HW105 HW202", "update-below-precision",
        [{"dtype": "bfloat16", "rate": rate} for rate in (1e-4, 1e-5)],
        networks=frozenset({"mlp", "cnn", "autoencoder", "rnn"}),
    ),
    _fault(
        "identical", "HW106 HW202 HW103", "constant-init",
        [{"weights": "constant"}, {"weights": "constant", "weight_scale": 0.0, "bias": 0.1}],
        networks=frozenset({"mlp", "cnn", "autoencoder", "rnn"}), sites=HIDDEN,
    ),
    _fault(
        "bad-batch", "HW301", "bad-input", [{"bad_from": 40}, {"bad_from": 100}],
        networks=CHAINS | LOOPS,
        tasks=frozenset("circles moons digits cancer wine waves first-bit".split()),
    ),
    _fault(
        "log-of-zero", "HW301", "log-of-zero", [{"loss": "log"}],
        networks=CHAINS | LOOPS, sites=frozenset({"log"}),
        tasks=frozenset("circles moons digits cancer wine first-bit".split()),
    ),
    _fault(
        "exp-overflow", "HW301", "exp-overflow", [{"loss": "exp"}],
        networks=CHAINS | LOOPS, sites=frozenset({"exp"}),
        tasks=frozenset("digits cancer moons wine first-bit".split()),
    ),
    _fault(
        "zero-over-zero", "HW301", "zero-over-zero", [{"loss": "divide"}],
        networks=CHAINS | LOOPS, sites=frozenset({"divide"}),
        tasks=frozenset("digits cancer moons wine first-bit".split()),
    ),
    _fault(
        "sure-attention", "HW107 HW202 HW101 HW102", "attention-collapse",
        [{"score_scale": scale} for scale in (100.0, 3000.0)],
        networks=frozenset({"transformer"}), sites=frozenset({"attention"}),
    ),
    _fault(
        "all-masked", "HW301", "inf-minus-inf masked-row",
        [{"mask_below": words} for words in (3, 6)],
        networks=frozenset({"transformer"}), sites=frozenset({"attention"}),
    ),
    _fault(
        "half-unscaled", "HW302 HW101 HW105 HW202",
        "precision-underflow unscaled-half-precision",
        [{"autocast": "float16", "loss_weight": weight} for weight in (1e-5, 1e-6)],
        networks=CHAINS | LOOPS | {"transformer"},
    ),
    _fault(
        "small-loss-scale", "HW302 HW101 HW105 HW202",
        "loss-scale-too-small precision-underflow",
        [{"autocast": "float16", "loss_scaling": True, "loss_scale": 1.0, "loss_weight": weight}
         for weight in (1e-5, 1e-6)],
        networks=CHAINS | LOOPS,
    ),
    _fault(
        "falling-loss-scale", "HW303 HW301 HW102 HW104 HW202 HW302 HW105",
        "falling-loss-scale overflow-in-half unscaled-inputs",
        [{"autocast": "float16", "loss_scaling": True, "input_scale": scale}
         for scale in (3e4, 6e4)],
        networks=CHAINS,
        tasks=frozenset("circles moons digits cancer wine waves".split()),
    ),
    _fault(
        "naive-softmax", "HW301 HW302", "naive-softmax log-of-zero",
        [{"loss": "naive"}], networks=CHAINS, sites=frozenset({"naive"}),
        tasks=frozenset("circles moons digits cancer wine".split()),
    ),
    _fault(
        "half-overflow", "HW301 HW303 HW102 HW104 HW202", "overflow-in-half unscaled-inputs",
        [{"autocast": "float16", "input_scale": scale} for scale in (3e4, 6e4)],
        networks=CHAINS, sites=HIDDEN,
        tasks=frozenset("circles moons digits cancer wine waves".split()),
    ),
    _fault(
        "half-adam", "HW301 HW201 HW105", "eps-below-precision bad-update",
        [{"dtype": "float16", "optimiser": "adam", "rate": rate} for rate in (0.001, 0.01)],
        networks=frozenset({"mlp", "autoencoder"}),
        tasks=frozenset("circles moons digits cancer wine waves reconstruction".split()),
    ),
    _fault(
        "normalised-depth", "HW102 HW202 HW203", "normalisation-depth depth-beyond-trainable",
        [{"norm": "batch", "depth": depth, "activation": "relu", "residual": "",
          "optimiser": "sgd", "rate": 0.05} for depth in (40, 60)],
        networks=frozenset({"mlp"}), sites=HIDDEN | frozenset({"norm"}),
    ),
    _fault(
        "bounded-logits", "HW202 HW103", "output-range dead-units",
        [{"output": output} for output in ("sigmoid", "tanh", "relu")],
        networks=ALL, sites=frozenset({"output", "output-relu", "output-tanh"}),
        tasks=frozenset("circles moons digits cancer wine first-bit tokens".split()),
    ),
    _fault(
        "root-at-zero", "HW301", "sqrt-at-zero", [{"loss": "root"}],
        networks=CHAINS, sites=frozenset({"root"}),
    ),
    *(
        _fault(
            name, "HW301", causes, [{"loss": site, **more}], networks=CHAINS,
            sites=frozenset({site}), tasks=tasks,
        )
        for name, causes, site, tasks, more in (
            ("log-of-logits", "log-of-negative", "log-of-logits", SOME_CLASSES, {}),
            ("sine-of-cosine", "sqrt-of-negative", "sine", SOME, {}),
            ("percentage-error", "division-by-zero", "percentage", SOME_CLASSES, {}),
            ("percentage-with-eps", "division-by-tiny", "percentage-eps", SOME_CLASSES, {}),
            ("focal-under-one", "power-at-zero", "focal", SOME_CLASSES, {}),
            ("power-of-signed", "power-of-negative", "power", SOME, {}),
            ("masked-by-product", "zero-times-inf", "barred", SOME_CLASSES, {}),
            ("masked-then-scaled", "inf-over-inf", "scaled-scores", SOME_CLASSES, {}),
            ("batch-of-one", "variance-of-one", "spread", SOME, {"batch": 1}),
            ("fourth-power", "overflow-in-product unscaled-targets", "fourth-power", NUMBERS,
             {"target_scale": 1e10}),
            ("sum-in-half", "overflow-in-reduction overflow-in-half unscaled-targets", "half-sum",
             NUMBERS, {"target_scale": 77.0, "target_shift": 154.0}),
            ("sum-of-squares", "overflow-in-reduction unscaled-targets", "sum-of-squares", NUMBERS,
             {"target_scale": 4e18}),
            ("angle", "domain", "angle", SOME, {}),
        )
    ),
    _fault(
        "constant-columns", "HW301", "bad-buffer zero-times-inf", [{"standardised": True}],
        networks=CHAINS, sites=frozenset({"standardise"}),
        tasks=frozenset({"digits", "reconstruction"}),
    ),
    _fault(
        "unbounded-loss", _ENDLESS, "unbounded-loss growing-numbers",
        [{"loss": "unbounded", "autocast": "float16", "rate": 0.003},
         {"loss": "unbounded"}],
        networks=CHAINS, tasks=SOME_CLASSES,
    ),
    _fault(
        "nll-of-outputs", _ENDLESS, "unbounded-loss", [{"loss": "nll-of-outputs"}],
        networks=CHAINS | {"transformer", "lstm", "gru"},
        tasks=SOME_CLASSES | {"tokens", "first-bit"},
    ),
    _fault(
        "labels-of-signs", _ENDLESS, "unbounded-loss", [{"loss": "signs"}],
        networks=CHAINS | LOOPS, tasks=SOME_CLASSES | {"cancer", "first-bit"},
    ),
    _fault(
        "negated", _ENDLESS, "unbounded-loss", [{"loss": "negated"}],
        networks=ALL, tasks=SOME | {"tokens", "first-bit", "adding"},
    ),
    _fault(
        "decay-turned-round", "HW303 HW301", "growing-numbers overflow-in-half",
        [{"own_decay": -0.01, "autocast": "float16", "optimiser": "sgd", "rate": rate}
         for rate in (0.01, 0.05)],
        networks=frozenset({"mlp"}), tasks=SOME_CLASSES | {"cancer"}, factual=True,
    ),
    _fault(
        "weights-off", "HW105", "requires-grad-off", [{"frozen": "weight", "held": "frozen too"}],
        networks=CHAINS | LOOPS,
    ),
    _fault(
        "narrow-and-small", "HW107 HW101 HW202", "ordered-phase weight-scale-too-small",
        [{"activation": "tanh", "weights": "xavier", "weight_scale": scale, "width": 4, "depth": 8,
          **_NOT_NORMED} for scale in (0.3, 0.4)],
        networks=frozenset({"mlp"}), sites=HIDDEN,
        tasks=frozenset("circles moons digits cancer wine".split()),
    ),
)  # fmt: skip

BY_NAME: Mapping[str, Fault] = {fault.name: fault for fault in FAULTS}
