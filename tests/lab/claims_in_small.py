"""Every experiment cut down to seconds, and the wrong settings that must refute it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from headwater.lab.experiment import Experiment
from headwater.lab.experiments import EXPERIMENTS
from headwater.lab.experiments.rrelu_gap import LEAKY


@dataclass(frozen=True, kw_only=True)
class Small:
    """Settings that shorten an experiment, and others beside them that must refute its claim."""

    wrong: dict[str, Any]
    cut: dict[str, Any] = field(default_factory=dict)
    seeds: int = 16


CIRCLES = {"every": 20}
SMALL = {
    "two-circles": Small(wrong={"noise": 0.3}),
    "shallow-tanh-learns": Small(cut=CIRCLES, wrong={"hidden": 5}),
    "tanh-uniform-fails": Small(cut=CIRCLES, wrong={"weights": "xavier"}),
    "uniform-weights-align": Small(wrong={"bad": "xavier"}),
    "xavier-rescues-tanh": Small(cut=CIRCLES, wrong={"weights": "uniform"}),
    "adam-rescues-tanh": Small(cut=CIRCLES, wrong={"weights": "xavier"}),
    "relu-he-learns": Small(cut=CIRCLES, wrong={"weights": "uniform"}),
    "weights-that-do-not-move": Small(wrong={"stuck": "xavier"}),
    "derivatives": Small(wrong={"scale": 2.0}),
    "activations": Small(
        cut={"activations": ("tanh",)}, wrong={"weights": ("uniform", "he", "xavier")}
    ),
    "dying-relu": Small(cut={"arms": ("He", "bias -1", "bias -2")}, wrong={"cure": 0.0}),
    "exploding-regression": Small(
        cut={"ways": ("raw targets", "rate 0.001"), "epochs": 100}, wrong={"divisor": 150.0}
    ),
    "depth-and-width": Small(
        cut={"depths": (5,), "widths": (5,)}, wrong={"relu_weights": "uniform"}
    ),
    "bias-shift": Small(wrong={"shifted": "tanh"}, seeds=8),
    "speed-of-elu": Small(wrong={"fast": "relu"}),
    "trainability-map": Small(cut={"depths": (18,), "sigmas": (1.2, 1.4)}, wrong={"shift": -1.0}),
    "prelu-slopes": Small(cut=CIRCLES, wrong={"activation": "relu"}),
    "rrelu-overfits-less": Small(cut={"epochs": 300}, wrong={"random": LEAKY}),
    "logistic-regression": Small(wrong={"loss": "squared"}),
    "saturation-stops-updates": Small(wrong={"saturating": "relu"}),
    "relu-sparsity": Small(cut={"widths": (5, 250)}, wrong={"mean": 1.0}),
    "born-dead": Small(wrong={"slope": 0.1}, seeds=60),
    "width-fluctuation": Small(wrong={"slope": 1.0}, seeds=200),
    "deep-linear": Small(wrong={"rate": 0.0}),
    "softmax": Small(wrong={"subtract_largest": True}),
    "through-time": Small(
        cut={"lengths": (50,), "cells": ("RNN, torch default", "LSTM, torch default"),
             "updates_share": 0.02},
        wrong={"orthogonal": True},
        seeds=8,
    ),
    # Twenty updates teach nobody: right of the RNN, which never learns, and wrong of the LSTM.
    "adding-problem": Small(
        cut={"arms": ((50, "RNN, torch default"),), "updates": 20},
        wrong={"arms": ((50, "LSTM, chrono"),)},
        seeds=8,
    ),
}  # fmt: skip


def small(name: str) -> Experiment[Any]:
    return EXPERIMENTS[name].changed(**SMALL[name].cut)


def wrong(name: str) -> Experiment[Any]:
    return EXPERIMENTS[name].changed(**SMALL[name].cut).changed(**SMALL[name].wrong)
