"""ReLU with He's weights learns at depth five, and not at depth twenty."""

from __future__ import annotations

from headwater.lab.circles import Circles, draw_learning, found_learning, measure_circles
from headwater.lab.claims import every, median, share
from headwater.lab.experiment import Experiment

EXPERIMENT = Experiment(
    name="relu-he-learns",
    claim="With He's weights five hidden layers of ReLU learn the two circles.",
    settings=Circles(activation="relu", weights="he"),
    measure=measure_circles,
    assertions=(
        share("share that learns", "learns", 0.85, 1.0),
        median("test accuracy", "test_accuracy", 0.82, 0.845),
        median("first epoch over 0.75", "first_epoch", 30, 80),
        every("highest test accuracy at any epoch", "highest_accuracy", 0.0, 0.89),
    ),
    draw=draw_learning,
    found=found_learning,
    literature=(
        "He, Zhang, Ren and Sun (2015), arXiv:1502.01852. Brownlee, *How to Fix the Vanishing "
        "Gradients Problem Using the ReLU*: 0.836 in training and 0.840 on the test points, one "
        "run."
    ),
    fragile=(
        "One seed in twenty does not learn: narrow ReLU layers can be dead from the start "
        "(`born-dead`). Deeper it gets worse (`depth-and-width`)."
    ),
)
