"""Xavier's weights, and nothing else changed, let the deep tanh network learn."""

from __future__ import annotations

from headwater.lab.circles import Circles, draw_learning, found_learning, measure_circles
from headwater.lab.claims import every, median, share
from headwater.lab.experiment import Experiment

EXPERIMENT = Experiment(
    name="xavier-rescues-tanh",
    claim="With Xavier's weights five hidden layers of tanh learn the two circles, nearly always.",
    settings=Circles(weights="xavier"),
    measure=measure_circles,
    assertions=(
        share("share that learns", "learns", 0.97, 1.0),
        median("test accuracy", "test_accuracy", 0.82, 0.84),
        median("first epoch over 0.75", "first_epoch", 45, 95),
        every("highest test accuracy at any epoch", "highest_accuracy", 0.0, 0.89),
    ),
    draw=draw_learning,
    found=found_learning,
    literature=(
        "Glorot and Bengio (2010), *Understanding the difficulty of training deep feedforward "
        "neural networks*, AISTATS. As an extension of Brownlee's tutorial: 0.814 in training and "
        "0.840 on the test points, one run."
    ),
    fragile="Little: nearly every seed learns, and within a factor of two at the same epoch.",
)
