"""How much faster an ensemble trains than a plain PyTorch loop, and how its cost grows.

The task is one 500-epoch training of the two circles: five hidden layers of five units, 500
training points in batches of 32, evaluated on all 1,000 points every --evaluate epochs. A plain
loop trains one network (its steps are timed over --loop-epochs of the epochs, one thread); the
engine trains --members at once on all processors. Both run one right after the other, in turn, in
this process, and the figure is the median over rounds of the ratio of loop time to the engine's
time per member. Compilation is told apart and not counted.

    python benchmarks/lab_throughput.py --rounds 5 --members 256
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from statistics import median

import torch
from lab_loops import (
    EPOCHS,
    KERAS_LIMIT,
    PLAIN_LIMIT,
    Case,
    keras_seconds,
    loop_seconds,
    the_circles,
)

from headwater.lab.ensemble import (
    Clip,
    Data,
    Initialiser,
    Members,
    Record,
    Resources,
    Training,
    adam,
    adamw,
    rmsprop,
    sgd,
    train,
    xavier_uniform,
)

PLAIN = (
    Case(name="tanh, SGD with momentum", limit=PLAIN_LIMIT),
    Case(name="tanh, Adam", optimiser=adam(1e-3), limit=PLAIN_LIMIT),
)
OTHERS = (
    *(
        Case(name=activation, activation=activation)
        for activation in (
            "sigmoid", "relu", "leaky_relu(0.1)", "prelu", "rrelu", "relu6", "elu", "selu",
            "gelu", "gelu_tanh", "silu", "mish", "hardswish", "softplus", "softsign",
        )
    ),
    Case(name="Nesterov", optimiser=sgd(0.01, momentum=0.9, nesterov=True)),
    Case(name="AdamW", optimiser=adamw(1e-3)),
    Case(name="RMSprop", optimiser=rmsprop(1e-3)),
    Case(name="clipping by norm", clip=Clip(kind="norm", limit=1.0)),
    Case(name="clipping per tensor", clip=Clip(kind="norm_per_tensor", limit=1.0)),
    Case(name="clipping by value", clip=Clip(kind="value", limit=0.1)),
    Case(name="batch normalisation", activation="relu", batch_norm=True),
    Case(name="float64", dtype="float64"),
    Case(name="without numba", backend="stacked"),
    Case(name="everything recorded", record=Record(losses=1, gradients=1, weights=1, units=1)),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Result:
    """Seconds of one 500-epoch training, by round."""

    case: str
    loop_s: tuple[float, ...]
    engine_s: tuple[float, ...]
    limit: float

    @property
    def ratio(self) -> float:
        """Return the median of the rounds' ratios."""
        return median(a / b for a, b in zip(self.loop_s, self.engine_s, strict=True))

    def line(self) -> str:
        """Return a row of the table."""
        ratios = [a / b for a, b in zip(self.loop_s, self.engine_s, strict=True)]
        verdict = "ok" if self.ratio >= self.limit else "UNDER"
        return (
            f"{self.case:<26} {median(self.loop_s):>9.2f} {1e3 * median(self.engine_s):>12.2f} "
            f"{self.ratio:>8.0f} {f'{min(ratios):.0f}-{max(ratios):.0f}':>12} "
            f"{self.limit:>6.0f} {verdict}"
        )


def engine_seconds(
    case: Case, data: Data, members: int, evaluate: int, *, epochs: int = EPOCHS, threads: int = 0
) -> float:
    """Return what the engine takes for one member of an ensemble."""
    started = time.perf_counter()
    train(
        case.network(),
        Members(seeds=range(members), initialiser=Initialiser(hidden=xavier_uniform())),
        data,
        Training(epochs=epochs, optimiser=case.optimiser, clip=case.clip),
        record=case.record or Record(losses=evaluate),
        resources=Resources(threads=threads or None, backend=case.backend),  # type: ignore[arg-type]
    )
    return (time.perf_counter() - started) / members


def compare(case: Case, data: Data, arguments: argparse.Namespace) -> Result:
    """Time a case against the loop, in turn."""
    loops, engines = [], []
    every = case.record.losses if case.record else arguments.evaluate
    for _ in range(arguments.rounds):
        loops.append(loop_seconds(case, data, arguments.loop_epochs, every))
        engines.append(engine_seconds(case, data, arguments.members, arguments.evaluate))
    found = Result(case=case.name, loop_s=tuple(loops), engine_s=tuple(engines), limit=case.limit)
    print(found.line(), flush=True)
    return found


def against_keras(data: Data, arguments: argparse.Namespace) -> list[Result]:
    """Time tanh with SGD against Keras, whose ``fit`` evaluates the test points every epoch."""
    if find_spec("keras") is None:
        print("keras is not installed, so nothing is compared with it (pip install keras)")
        return []
    rounds = range(max(1, arguments.rounds // 2))
    loops = [keras_seconds(data, arguments.keras_epochs) for _ in rounds]
    engines = [engine_seconds(PLAIN[0], data, arguments.members, 1) for _ in rounds]
    found = Result(
        case="Keras 3 fit, tanh, SGD",
        loop_s=tuple(loops),
        engine_s=tuple(engines),
        limit=KERAS_LIMIT,
    )
    print(found.line(), flush=True)
    return [found]


def growth(data: Data, rounds: int) -> list[tuple[str, float, float]]:
    """Print how seconds grow as members, epochs and layers double, on one thread."""
    print(f"\n{'growth, one thread':<26} {'ms in all':>10} {'per doubling':>13}")
    rows = []
    series = {
        "members": [(PLAIN[0], members, 50) for members in (16, 32, 64, 128)],
        "epochs": [(PLAIN[0], 16, epochs) for epochs in (50, 100, 200, 400)],
        "hidden layers": [
            (replace(PLAIN[0], widths=(2, *[5] * depth, 1)), 16, 50) for depth in (5, 10, 20, 40)
        ],
    }
    labels = {
        "members": lambda case: str(case[1]),
        "epochs": lambda case: str(case[2]),
        "hidden layers": lambda case: str(len(case[0].widths) - 2),
    }
    for name, cases in series.items():
        before = 0.0
        for case, members, epochs in cases:
            seconds = min(
                members * engine_seconds(case, data, members, 10, epochs=epochs, threads=1)
                for _ in range(max(3, rounds))
            )
            factor = seconds / before if before else float("nan")
            label = f"{labels[name]((case, members, epochs))} {name}"
            print(f"{label:<26} {1e3 * seconds:>10.1f} {factor:>13.2f}", flush=True)
            rows.append((label, seconds, factor))
            before = seconds
    return rows


def main() -> None:
    """Print the tables; or with --json, every figure. Exit with 1 if a limit is not reached."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="pairs of timings (default 5)")
    parser.add_argument("--members", type=int, default=256, help="at once (default 256)")
    parser.add_argument("--evaluate", type=int, default=10, help="every so many epochs")
    parser.add_argument("--loop-epochs", type=int, default=50, help="the loop's, of 500")
    parser.add_argument("--keras-epochs", type=int, default=20, help="Keras's, of 500")
    parser.add_argument("--plain", action="store_true", help="only tanh with SGD and Adam")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = the_circles()
    started = time.perf_counter()
    for dtype in ("float32", "float64"):
        engine_seconds(replace(PLAIN[0], dtype=dtype), data, 16, 1, epochs=1)
    print(
        f"{os.cpu_count()} processors; compiled or loaded in {time.perf_counter() - started:.1f} s;"
        f" {arguments.members} members, evaluated every {arguments.evaluate} epochs\n"
        f"{'one 500-epoch training':<26} {'loop [s]':>9} {'engine [ms]':>12} {'ratio':>8} "
        f"{'range':>12} {'limit':>6}"
    )
    results = [compare(case, data, arguments) for case in PLAIN]
    grown: list[tuple[str, float, float]] = []
    if not arguments.plain:
        results += [compare(case, data, arguments) for case in OTHERS]
        results += against_keras(data, arguments)
        grown = growth(data, arguments.rounds)
    if arguments.json:
        cases = [asdict(result) | {"ratio": result.ratio} for result in results]
        print(json.dumps({"cases": cases, "growth": grown}, indent=2))
    if any(result.ratio < result.limit for result in results):
        sys.exit(1)


if __name__ == "__main__":
    main()
