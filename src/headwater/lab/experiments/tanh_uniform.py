"""Five hidden layers of tanh from U[0, 1]: the classic failure, which is slowness."""

from __future__ import annotations

from headwater.lab.circles import Circles, draw_learning, found_learning, measure_circles
from headwater.lab.claims import every, median, share
from headwater.lab.experiment import Experiment

EXPERIMENT = Experiment(
    name="tanh-uniform-fails",
    claim="Five hidden layers of tanh from U[0, 1] do not learn in 500 epochs; most do in 2,000.",
    settings=Circles(late=4),
    measure=measure_circles,
    assertions=(
        share("share that learns in 500 epochs", "learns", 0.0, 0.2),
        median("test accuracy after 500 epochs", "test_accuracy", 0.49, 0.60),
        share("share that learns in 2,000 epochs", "learns_late", 0.6, 0.9),
        median("test accuracy after 2,000 epochs", "late_accuracy", 0.79, 0.84),
        median("first epoch over 0.75, of those that get there", "first_epoch_ever", 550, 1250),
        every("highest test accuracy at any epoch", "highest_accuracy", 0.0, 0.89),
    ),
    draw=draw_learning,
    found=found_learning,
    literature=(
        "Brownlee, *How to Fix the Vanishing Gradients Problem Using the ReLU*: accuracy 0.530 in "
        "training and 0.468 on the test points after 500 epochs, one run, told as a network that "
        "cannot learn for its vanishing gradients. It is slow, not unable; and what slows it is "
        "less the size of gradients than the weights' positive mean (`uniform-weights-align`)."
    ),
    fragile=(
        "The verdict hangs on the number of epochs. Adam moves the same networks sooner "
        "(`adam-rescues-tanh`), and a seed in ten learns within 500 epochs."
    ),
)
