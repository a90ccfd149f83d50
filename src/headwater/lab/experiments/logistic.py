"""A single sigmoid unit is logistic regression: at the output the sigmoid is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from headwater.errors import MissingExtraError
from headwater.lab.claims import every
from headwater.lab.experiment import Experiment
from headwater.lab.pictures import Style, draw_curves
from headwater.lab.rows import Array, Rows, Tables

FEATURES = 3


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Points of each data set, and gradient descent on which loss, for how long."""

    points: int = 300
    steps: int = 4000
    rate: float = 2.0
    loss: Literal["cross-entropy", "squared"] = "cross-entropy"


def measure(settings: Settings, seeds: Array) -> Tables:
    """Train a unit on a data set of every seed, and compare it with scikit-learn's fit."""
    x, y = (np.stack(part) for part in zip(*[_data(settings, s) for s in seeds], strict=True))
    exact = np.stack([_fitted(one, label) for one, label in zip(x, y, strict=True)])
    design = np.concatenate([x, np.ones((*x.shape[:2], 1))], axis=2)
    unit = np.zeros((len(seeds), FEATURES + 1))
    steps, errors = [], []
    kept = set(np.unique(np.geomspace(1, settings.steps, 40).astype(int)).tolist())
    for step in range(1, settings.steps + 1):
        p = 1 / (1 + np.exp(-np.einsum("mnf,mf->mn", design, unit)))
        # The sigmoid's own slope cancels in the cross-entropy's gradient, and only there.
        slope = 1.0 if settings.loss == "cross-entropy" else 2 * p * (1 - p)
        unit -= settings.rate * np.einsum("mnf,mn->mf", design, (p - y) * slope) / x.shape[1]
        if step in kept:
            steps.append(step)
            errors.append(np.abs(unit - exact).max(axis=1))
    course = np.stack(errors, axis=1)
    return {
        "members": Rows.of(seed=seeds, error=course[:, -1], largest=np.abs(exact).max(axis=1)),
        "steps": Rows.of(
            seed=np.repeat(seeds, len(steps)),
            step=np.tile(steps, len(seeds)),
            error=course.ravel(),
        ),
    }


def _data(settings: Settings, seed: int) -> tuple[Array, Array]:
    stream = np.random.default_rng([int(seed), 17])
    x = stream.standard_normal((settings.points, FEATURES))
    logit = x @ stream.normal(0, 1, FEATURES) + stream.normal(0, 0.5)
    return x, (stream.uniform(size=settings.points) < 1 / (1 + np.exp(-logit))).astype(float)


def _fitted(x: Array, y: Array) -> Array:
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "lab", "logistic regression") from error
    fit = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(x, y)
    return np.concatenate([fit.coef_[0], fit.intercept_])


def draw(tables: Tables, figure: Any, style: Style) -> None:
    """Draw odds, logit and sigmoid, and how the unit's coefficients approach the fit."""
    axes = figure.subplots(1, 4)
    p, z = np.linspace(0.005, 0.995, 400), np.linspace(-6, 6, 400)
    axes[0].plot(p, p / (1 - p), color=style.palette[0])
    axes[0].set(title="odds = p / (1 - p)", xlabel="probability p", ylim=(0, 20))
    axes[1].plot(p, np.log(p / (1 - p)), color=style.palette[0])
    axes[1].set(title="logit = log of the odds", xlabel="probability p", ylim=(-6, 6))
    axes[2].plot(z, 1 / (1 + np.exp(-z)), color=style.palette[0], label="sigmoid")
    slope = np.exp(-z) / (1 + np.exp(-z)) ** 2
    axes[2].plot(z, slope, color=style.palette[1], label="its slope, at most 1/4")
    axes[2].set(title="sigmoid, the logit's inverse", xlabel="logit z", ylim=(0, 1.3))
    axes[2].legend(loc="upper left")
    step, error = tables["steps"].grid("error", "step")
    draw_curves(axes[3], step, error, style.palette[2], "median")
    axes[3].axhline(1e-3, color=style.palette[6], lw=1, ls="--")
    axes[3].set(
        title="trained unit against the fit",
        xlabel="step of gradient descent",
        ylabel="largest difference of a coefficient",
        xscale="log",
        yscale="log",
    )


def found(tables: Tables) -> str:
    """Say how near the unit comes."""
    one = tables["members"]
    return (
        f"On {len(one)} data sets the trained unit's coefficients differ from scikit-learn's by at "
        f"most {one['error'].max():.1e} (the largest coefficient is {one['largest'].max():.2f})."
    )


EXPERIMENT = Experiment(
    name="logistic-regression",
    claim="A sigmoid unit trained on the cross-entropy is scikit-learn's logistic regression.",
    settings=Settings(),
    measure=measure,
    assertions=(every("largest difference of a coefficient", "error", 0.0, 1e-3),),
    draw=draw,
    found=found,
    literature=(
        "Cox (1958), *The Regression Analysis of Binary Sequences*. The cross-entropy's gradient "
        "by the logit is p - y: the sigmoid's small slope cancels, so the same function that "
        "starves hidden layers is right at the output."
    ),
    fragile=(
        "With the squared error instead, the slope does not cancel and the optimum is another one. "
        "Separable data have no finite fit; these overlap."
    ),
    size=(14.0, 3.6),
)
