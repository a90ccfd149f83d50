"""Made-up networks: a chain of layers from the loss to the input, as a run on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import made_up
import numpy as np

from headwater.records import Finding, ParameterInfo, Site, Verdict
from headwater.rules import RULES
from headwater.rules.facts import Facts
from headwater.runs.reader import Run

SAMPLES = (0, 1, 2, 4, 8)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A linear layer and its activation; gains towards the input are decades.

    ``statistics`` are columns of the activation's rows; a callable takes the sampled step.
    """

    activation: float = 0.0
    weights: float = 0.0
    update: float = 1e-3
    weight_norm: float | Callable[[int], float] = 3.0
    bias_norm: float = 0.0
    module: str = ""
    statistics: Mapping[str, Any] = field(default_factory=dict)


def falling(steps: int = 600, *, start: float = 0.7, end: float = 0.2) -> list[float]:
    """Return a noisy loss that falls."""
    return (np.linspace(start, end, steps) + _noise(steps)).tolist()


def flat(steps: int = 600, *, level: float = float(np.log(2))) -> list[float]:
    """Return a noisy loss that stands still."""
    return (level + _noise(steps)).tolist()


def _noise(steps: int) -> np.typing.NDArray[np.float64]:
    return np.random.default_rng(0).normal(0, 0.01, steps)


def chain(
    folder: Path,
    layers: Sequence[Layer],
    *,
    losses: Sequence[float],
    samples: Sequence[int] = SAMPLES,
    operation: str = "Tanh",
    loss: str = "BinaryCrossEntropyWithLogits",
    classes: int = 1,
    elements: Callable[[int], int] = lambda _layer: 512,
    output_update: float = 1e-3,
    output_level: float = -1.5,
    pulse: Callable[[int], Mapping[str, Any]] = lambda _step: {},
    columns: Mapping[str, Any] | None = None,
    info: Mapping[str, Any] | None = None,
    recurrent: bool = False,
    underflow: int | None = None,
    asks: Callable[[int], Mapping[str, Any]] = lambda _step: {},
    kind: str = "activation",
) -> Run:
    """Write a run of a chain whose ``layers`` count from the loss; the output layer is extra.

    ``output_level`` is the gradient's at the network's output: -1.5 is what a mean of cross
    entropies over 512 entries gives. ``columns`` are added to every row of ``parameters.arrow``.
    ``recurrent`` gives all layers the same site and weights. At step ``underflow`` nothing is left
    of the gradient behind the last activation. ``asks`` tells of the loss's targets at a step,
    ``kind`` what the layers' ``operation`` is.
    """
    network = _Network(
        layers, operation=operation, kind=kind, loss=loss, classes=classes, recurrent=recurrent
    )
    norms = [1.0] * len(network.parameters)
    rows = [
        {"loss": value, "optimiser": 0, "total_norm": 1.0, "gradient_norms": norms, **pulse(step)}
        for step, value in enumerate(losses)
    ]
    return made_up.run(
        folder,
        pulse=rows,
        sites=[
            row
            for step in samples
            for row in [
                {**row, **(asks(step) if row["parent"] < 0 else {})}
                for row in network.rows(step, elements, output_level, step == underflow)
            ]
        ],
        parameters=[
            row for step in samples for row in network.moves(step, output_update, columns or {})
        ],
        info={"sites": network.sites, "parameters": network.parameters, **(info or {})},
    )


def judged(run: Run, code: str) -> Verdict:
    """Return one rule's verdict."""
    return RULES[code].judge(Facts(run))


def finding(run: Run, code: str) -> Finding:
    """Return the one finding of a rule that must have one."""
    verdict = judged(run, code)
    assert verdict.answer == "wrong", verdict
    return verdict.findings[0]


class _Network:
    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        operation: str,
        kind: str,
        loss: str,
        classes: int,
        recurrent: bool,
    ) -> None:
        self.layers = layers
        self.recurrent = recurrent
        self.sites: list[Site] = [made_up.site(loss, "loss", line=90)]
        self.parameters: list[ParameterInfo] = []
        self._add_linear("output", line=80, rows=classes)
        for number, layer in enumerate(layers[:1] if recurrent else layers):
            line = 70 - number
            module = layer.module or f"hidden{number}"
            self.sites.append(made_up.site(operation, kind, line=line))
            self._add_linear(module, line=line, rows=32)

    def _add_linear(self, module: str, *, line: int, rows: int) -> None:
        self.sites.append(made_up.site("Addmm", "weights", line=line, module=module))
        for name, shape in ((f"{module}.weight", (rows, 32)), (f"{module}.bias", (rows,))):
            self.sites.append(made_up.site("AccumulateGrad", "parameter", parameter=name))
            self.parameters.append(made_up.parameter(name, shape))

    def rows(
        self, step: int, elements: Callable[[int], int], level: float, underflow: bool
    ) -> list[dict[str, Any]]:
        rows = [made_up.node(0, -1, step=step, elements=1)]
        gain, above, number = 0.0, 0, 1
        # Of shared weights the leaf hangs where the largest contribution comes from.
        used = 0 if sum(layer.weights for layer in self.layers) <= 0 else len(self.layers) - 1

        def add(site: int, parent: int, edge: float, **more: Any) -> int:
            nonlocal number
            rows.append(
                made_up.node(number, parent, step=step, site=site, edge_decades=edge, **more)
            )
            number += 1
            return number - 1

        above = add(1, 0, level, level=level, elements=elements(-1))
        self._leaves(add, above, 2, 0, level)
        for depth, layer in enumerate(self.layers):
            site = 4 if self.recurrent else 4 + 4 * depth
            call = len(self.layers) - 1 - depth if self.recurrent else 0
            level += gain
            statistics = {
                name: value(step) if callable(value) else value
                for name, value in {"units": 32, **layer.statistics}.items()
            }
            size = {"elements": elements(depth), "call": call}
            above = add(site, above, gain, level=level, **size, **statistics)
            own = -np.inf if underflow and layer is self.layers[-1] else layer.activation
            level += own
            above = add(site + 1, above, own, level=level, **size)
            if not self.recurrent or depth == used:
                first = 2 if self.recurrent else 2 + 2 * depth
                self._leaves(add, above, site + 2, first, level)
            gain = layer.weights
        return rows

    @staticmethod
    def _leaves(
        add: Callable[..., int], above: int, site: int, parameter: int, level: float
    ) -> None:
        for offset in (0, 1):
            add(site + offset, above, 0.0, level=level, parameter=parameter + offset)

    def moves(
        self, step: int, output_update: float, columns: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        output = Layer(update=output_update)
        rows = []
        for number, layer in enumerate(
            [output, *(self.layers[:1] if self.recurrent else self.layers)]
        ):
            norm = layer.weight_norm(step) if callable(layer.weight_norm) else layer.weight_norm
            for parameter, size in ((2 * number, norm), (2 * number + 1, layer.bias_norm)):
                rows.append(
                    {
                        "step": step,
                        "parameter": parameter,
                        "optimiser": 0,
                        "learning_rate": 0.01,
                        "raw_norm": 1.0,
                        "unscaled_norm": 1.0,
                        "clipped_norm": 1.0,
                        "weight_norm": size,
                        "weight_nonfinite_share": 0.0,
                        "relative_update": layer.update,
                        "lost_share": 0.0,
                        **columns,
                    }
                )
        return rows
