"""One hidden layer of tanh learns even from weights that stop a deep network."""

from __future__ import annotations

from headwater.lab.circles import Circles, draw_learning, found_learning, measure_circles
from headwater.lab.claims import every, median, share
from headwater.lab.experiment import Experiment

EXPERIMENT = Experiment(
    name="shallow-tanh-learns",
    claim="One hidden layer of five tanh units learns the two circles from weights of U[0, 1].",
    settings=Circles(hidden=1),
    measure=measure_circles,
    assertions=(
        share("share that learns", "learns", 0.95, 1.0),
        median("test accuracy", "test_accuracy", 0.80, 0.84),
        median("first epoch over 0.75", "first_epoch", 180, 270),
        every("highest test accuracy at any epoch", "highest_accuracy", 0.0, 0.89),
    ),
    draw=draw_learning,
    found=found_learning,
    literature=(
        "Brownlee, *How to Fix the Vanishing Gradients Problem Using the ReLU*: accuracy 0.816 in "
        "training and 0.816 on the test points, one run."
    ),
    fragile=(
        "It is slow: most seeds stay near chance for some two hundred epochs. With fewer than 200 "
        "epochs the same networks would be said not to learn."
    ),
)
