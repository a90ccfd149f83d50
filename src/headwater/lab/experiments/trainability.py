"""Which weight scales and depths can be trained, beside what mean field theory says of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from headwater.lab.claims import share
from headwater.lab.datasets import two_circles
from headwater.lab.draws import Initialiser, scaled_normal
from headwater.lab.experiment import Experiment
from headwater.lab.pictures import Style
from headwater.lab.rows import Array, Rows, Tables
from headwater.theory.meanfield import chi_1, settle

WORDS = {"tanh": "tanh", "relu": "ReLU"}
TRAINED = 0.75  # accuracy on the training points: the map is of what can be trained


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The map's grid; ``shift`` adds to the logarithm of every weight scale."""

    epochs: int = 100
    width: int = 16
    rate: float = 0.01
    sigmas: tuple[float, ...] = (0.5, 0.7, 0.9, 1.0, 1.2, 1.4, 1.6, 2.0, 2.5, 3.2)
    depths: tuple[int, ...] = (2, 4, 6, 9, 13, 18)
    shift: float = 0.0


def measure(settings: Settings, seeds: Array) -> Tables:
    """Train every activation at every weight scale and depth."""
    parts = [
        _trained(activation, depth, settings, seeds)
        for activation in WORDS
        for depth in settings.depths
    ]
    return {"members": Rows.joined(parts), "theory": _theory(settings, int(seeds[0]))}


def _trained(activation: str, depth: int, settings: Settings, seeds: Array) -> Rows:
    from headwater.lab import ensemble

    split = two_circles()
    sigmas = np.repeat(settings.sigmas, len(seeds))
    drawn = [Initialiser(hidden=scaled_normal(s * math.exp(settings.shift))) for s in sigmas]
    history = ensemble.train(
        ensemble.Network(widths=(2, *[settings.width] * depth, 1), activation=activation),
        ensemble.Members(seeds=np.tile(seeds, len(settings.sigmas)), initialiser=drawn),
        ensemble.Data(x=split.train_x, y=split.train_y),
        ensemble.Training(
            epochs=settings.epochs, optimiser=ensemble.sgd(settings.rate, momentum=0.9)
        ),
        record=ensemble.Record(losses=0),
    )
    accuracy = history.losses.train_accuracy[:, -1]
    return Rows.of(
        activation=activation,
        sigma=sigmas,
        depth=depth,
        seed=history.seeds,
        train_accuracy=accuracy,
        trains=accuracy > TRAINED,
    )


def _theory(settings: Settings, seed: int) -> Rows:
    """The depth over which the correlation of inputs, and the gradient, changes e-fold."""
    rows = []
    for activation in WORDS:
        for sigma in np.linspace(settings.sigmas[0], settings.sigmas[-1], 120):
            point = settle(activation, float(sigma) ** 2)
            variance = point.variance if 0 < point.variance < math.inf else 1.0
            slope = chi_1(activation, 1e-6 if point.fate == "zero" else variance, float(sigma) ** 2)
            rate = abs(math.log(slope))
            rows.append((activation, float(sigma), 1 / rate if rate > 1e-9 else math.inf))
    names, sigmas, depths = zip(*rows, strict=True)
    return Rows.of(activation=names, sigma=sigmas, scale=depths, seed=seed)


def draw(tables: Tables, figure: Any, style: Style) -> None:
    """Draw both maps with six depth scales on them."""
    axes = figure.subplots(1, 2, sharey=True)
    rows = tables["members"]
    sigmas, depths = sorted(rows.distinct("sigma")), sorted(rows.distinct("depth"))
    for one, (activation, words) in zip(axes, WORDS.items(), strict=True):
        here = rows.where(activation=activation)
        shares = np.array(
            [[here.where(sigma=s, depth=d)["trains"].mean() for s in sigmas] for d in depths]
        )
        mesh = one.pcolormesh(
            sigmas, depths, shares, cmap=style.heat, vmin=0, vmax=1, shading="nearest"
        )
        every = tables["theory"].where(activation=activation)
        theory = every.where(seed=every["seed"].min())  # each block brings the same curve
        seen = 6 * theory["scale"]
        one.plot(theory["sigma"], np.where(seen < 60, seen, np.nan), color="#ffffff", lw=3.5)
        one.plot(
            theory["sigma"],
            np.where(seen < 60, seen, np.nan),
            color="#D55E00",
            lw=2,
            label="6 depth scales, mean field",
        )
        one.set(title=words, xlabel=r"weight scale $\sigma_w$", ylim=(1, 20))
        one.grid(visible=False)
    axes[0].set_ylabel("hidden layers")
    axes[0].legend(loc="lower right", facecolor=style.paper, frameon=True, framealpha=0.8)
    figure.colorbar(mesh, ax=axes, label="share that trains")


def found(tables: Tables) -> str:
    """Say which weight scale trains deepest."""
    rows = tables["members"]
    words = [f"{len(rows):,} trainings."]
    for activation, name in WORDS.items():
        here = rows.where(activation=activation, depth=rows["depth"].max())
        shares = {s: here.where(sigma=s)["trains"].mean() for s in here.distinct("sigma")}
        best = max(shares, key=lambda s: shares[s])
        words.append(
            f"At {rows['depth'].max()} layers {name} trains most often at a weight scale of "
            f"{best:g}: in {shares[best]:.2f} of the seeds."
        )
    return " ".join(words)


EXPERIMENT = Experiment(
    name="trainability-map",
    claim="Deep networks train near the critical weight scale (1 for tanh, root 2 for ReLU), "
    "shallow ones nearly anywhere.",
    settings=Settings(),
    measure=measure,
    assertions=tuple(
        share(
            f"{WORDS[name]}, {sigma:g}, {depth} layers: trains",
            "trains",
            low,
            high,
            enough=20,
            activation=name,
            sigma=sigma,
            depth=depth,
        )
        for name, sigma, depth, low, high in (
            ("tanh", 1.2, 18, 0.75, 1.0),
            ("tanh", 0.5, 18, 0.0, 0.1),
            ("tanh", 3.2, 18, 0.0, 0.1),
            ("relu", 1.4, 18, 0.65, 1.0),
            ("relu", 0.7, 18, 0.0, 0.1),
            ("relu", 3.2, 18, 0.0, 0.1),
            ("tanh", 1.6, 2, 0.85, 1.0),
            ("relu", 0.7, 2, 0.85, 1.0),
            ("relu", 3.2, 2, 0.85, 1.0),
        )
    ),
    draw=draw,
    found=found,
    literature=(
        "Schoenholz, Gilmer, Ganguli and Sohl-Dickstein (2017), *Deep Information Propagation*, "
        "arXiv:1611.01232: networks train up to about six depth scales of the mean field theory, "
        "for any data set and optimiser tried."
    ),
    fragile=(
        "Sixteen units a layer are few for a theory of infinite width, and one hundred epochs "
        "few for training: more epochs widen the map, as slow is not the same as untrainable."
    ),
    slow=True,
    seeds=20,
    block=10,
    size=(11.0, 4.8),
)
