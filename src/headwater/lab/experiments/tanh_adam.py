"""Adam on the network that SGD cannot move: half a rescue."""

from __future__ import annotations

from headwater.lab.circles import Circles, draw_learning, found_learning, measure_circles
from headwater.lab.claims import every, median, share
from headwater.lab.experiment import Experiment

EXPERIMENT = Experiment(
    name="adam-rescues-tanh",
    claim="Adam rescues the deep tanh network from U[0, 1] in about half of the seeds at 500 "
    "epochs, in nearly all by 2,000.",
    settings=Circles(optimiser="adam", rate=0.001, late=4),
    measure=measure_circles,
    assertions=(
        share("share that learns in 500 epochs", "learns", 0.38, 0.70),
        median("test accuracy after 500 epochs", "test_accuracy", 0.66, 0.84),
        median("first epoch over 0.75, of those that get there", "first_epoch", 250, 410),
        share("share that learns in 2,000 epochs", "learns_late", 0.92, 1.0),
        median("test accuracy after 2,000 epochs", "late_accuracy", 0.83, 0.85),
        every("highest test accuracy at any epoch", "highest_accuracy", 0.0, 0.89),
    ),
    draw=draw_learning,
    found=found_learning,
    literature=(
        "Kingma and Ba (2015), *Adam*, arXiv:1412.6980: steps do not shrink with the gradient. As "
        "an extension of Brownlee's tutorial: 0.828 in training and 0.838 on the test points, one "
        "run. At 500 epochs that run is a coin flip, so one run proves nothing."
    ),
    fragile=(
        "At rate 0.001 and 500 epochs the result is that of a coin. At rate 0.01 nearly all seeds "
        "learn: the rate is tuned as much as the optimiser."
    ),
)
