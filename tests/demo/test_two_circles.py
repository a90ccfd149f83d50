import numpy as np
import pytest

from headwater.demo.two_circles import circles


def test_the_points_are_those_of_scikit_learn_scaled_to_minus_one_and_one() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    points, labels = datasets.make_circles(n_samples=1000, noise=0.1, random_state=1)
    low, high = points.min(0), points.max(0)
    scaled = (2 * (points - low) / (high - low) - 1).astype(np.float32)

    ours, our_labels = circles(1000, noise=0.1, seed=1)

    assert np.array_equal(ours.numpy(), scaled)
    assert np.array_equal(our_labels[:, 0].numpy(), labels)
