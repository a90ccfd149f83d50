"""What cannot be trained is refused before any work, and memory is said first and kept to."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from plans import DRAWN, plan, rings

from headwater.errors import EnsembleError, MissingExtraError, UnknownActivationError
from headwater.lab import division
from headwater.lab.ensemble import (
    Clip,
    Data,
    Members,
    Network,
    Progress,
    Record,
    Resources,
    Training,
    memory_needed,
    sgd,
    train,
)
from headwater.lab.training import Plan

X = np.zeros((6, 2))


def run(given: Plan, progress: Callable[[Progress], None] | None = None, **resources: Any) -> Any:
    return train(
        given.network,
        given.members,
        given.data,
        given.training,
        record=given.record,
        resources=Resources(**resources),
        progress=progress,
    )


def needed(given: Plan, **resources: Any) -> int:
    return memory_needed(
        given.network,
        given.members,
        given.data,
        given.training,
        record=given.record,
        resources=Resources(**resources),
    )


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "no seeds": (lambda: Members(seeds=[], initialiser=DRAWN), "seeds got []; it takes one or"),
    "a seed that is no whole number": (
        lambda: Members(seeds=[0.5], initialiser=DRAWN),  # type: ignore[list-item]
        "seeds got [0.5]; it takes one or more whole numbers from 0 to 2^63 - 1",
    ),
    "a seed that is too large": (lambda: Members(seeds=[2**63], initialiser=DRAWN), "seeds got"),
    "a rate below 0": (
        lambda: sgd(-0.1),
        "learning_rate got -0.1; it takes a number of at least 0",
    ),
    "a member's rate that is not a number": (
        lambda: Members(seeds=[1], initialiser=DRAWN, learning_rate=[float("nan")]),
        "learning_rate got [nan]; it takes numbers of at least 0",
    ),
    "labels -1 and 1": (
        lambda: plan(data=Data(x=X, y=np.array([-1, 1, 1, 1, 1, 1]))),
        "y got '-1 to 1'; it takes labels from 0 to 1 for the loss 'bce'",
    ),
    "a device that is not there": (
        lambda: run(plan(), device="cuda:77"),
        "device got 'cuda:77'; it takes 'cpu', or a device that torch finds here",
    ),
    "a negative seed": (lambda: Members(seeds=[1, -2], initialiser=DRAWN), "seeds got [1, -2]"),
    "rates that are too few": (
        lambda: Members(seeds=[1, 2], initialiser=DRAWN, learning_rate=[0.1]),
        "learning_rate got '1 values'; it takes one a seed: 2",
    ),
    "initialisers that are too many": (
        lambda: Members(seeds=[1], initialiser=[DRAWN, DRAWN]),
        "initialiser got '2 values'",
    ),
    "parameters of another network": (
        lambda: plan(parameters=np.zeros((3, 7))).members.first_parameters(
            Network(widths=(2, 5, 1))
        ),
        "parameters got (3, 7); it takes (3, 21)",
    ),
    "one width": (lambda: Network(widths=(2,)), "widths got (2,); it takes inputs, hidden units"),
    "a width of 0": (lambda: Network(widths=(2, 0, 1)), "widths got (2, 0, 1)"),
    "another loss": (lambda: Network(widths=(2, 1), loss="hinge"), "loss got 'hinge'"),  # type: ignore[arg-type]
    "another format": (lambda: Network(widths=(2, 1), dtype="float16"), "dtype got 'float16'"),  # type: ignore[arg-type]
    "epochs below 0": (lambda: Training(epochs=-1, optimiser=sgd(0.1)), "epochs got -1"),
    "an empty batch": (
        lambda: Training(epochs=1, optimiser=sgd(0.1), batch_size=0),
        "batch_size got 0; it takes at least 1, or None for all points",
    ),
    "Nesterov without momentum": (lambda: sgd(0.1, nesterov=True), "nesterov got True; it takes a"),
    "a clip at 0": (lambda: Clip(kind="norm", limit=0.0), "clip's limit got 0.0"),
    "another clip": (lambda: Clip(kind="l1", limit=1.0), "clip got 'l1'"),  # type: ignore[arg-type]
    "a cadence below 0": (lambda: Record(losses=-1), "record.losses got -1"),
    "another backend": (lambda: Resources(backend="fortran"), "backend got 'fortran'"),  # type: ignore[arg-type]
    "no threads": (lambda: Resources(threads=0), "threads got 0"),
    "half the test data": (lambda: Data(x=X, y=X[:, 0], test_x=X), "it takes both or neither"),
    "targets of other points": (lambda: Data(x=X, y=np.zeros(5)), "x and y got ((6, 2), (5, 1))"),
    "no points": (lambda: Data(x=np.zeros((0, 2)), y=np.zeros(0)), "x and y got"),
    "data of another width": (
        lambda: plan(data=Data(x=np.zeros((6, 3)), y=np.zeros(6))),
        "data got '3 inputs and 1 outputs'; it takes 2 inputs and 1 outputs",
    ),
    "data of other members": (
        lambda: plan(data=Data(x=np.zeros((4, 6, 2)), y=np.zeros((4, 6)))),
        "data got '4 sets'; it takes 3, or one for all",
    ),
    "normalisation of one point": (
        lambda: plan(network={"batch_norm": True}, batch_size=23),
        "which batch normalisation cannot take",
    ),
    "the kernel on another device": (
        lambda: run(plan(), backend="kernel", device="cuda"),
        "device got 'cuda'; it takes 'cpu' where the backend is 'kernel'",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_settings_are_refused_with_what_was_got_and_wanted(case: str) -> None:
    make, words = WRONG[case]
    with pytest.raises(EnsembleError) as caught:
        make()
    assert words in str(caught.value)


def test_an_unknown_activation_is_named_with_its_nearest() -> None:
    with pytest.raises(UnknownActivationError, match="nearest: 'gelu'"):
        Network(widths=(2, 5, 1), activation="gleu")


@pytest.mark.parametrize("backend", ["kernel", "stacked"])
def test_memory_that_holds_not_even_one_block_is_refused_with_what_is_needed(backend: str) -> None:
    given = plan(seeds=range(100), record=Record(losses=1, weights=1))
    with pytest.raises(EnsembleError) as caught:
        run(given, backend=backend, memory_bytes=1000)
    least = int(str(caught.value).split("at least ")[1].split()[0])
    assert needed(given, backend=backend, memory_bytes=least) <= least
    with pytest.raises(EnsembleError, match="record less often"):
        run(given, backend=backend, memory_bytes=least - 1)


@pytest.mark.parametrize("backend", ["kernel", "stacked"])
def test_the_memory_is_said_before_any_work_and_the_work_after(backend: str) -> None:
    given = plan(seeds=range(40), record=Record(losses=1))
    told: list[Progress] = []
    run(given, told.append, backend=backend, threads=2)
    assert told[0].done == 0
    assert told[0].memory_bytes == needed(given, backend=backend, threads=2)
    assert f"40 members, {backend}" in told[0].message
    assert told[-1].done == told[-1].total == 40 * 3
    assert [each.done for each in told] == sorted(each.done for each in told)


@pytest.mark.parametrize("recorded", [Record(), Record(losses=1, gradients=1, weights=1, units=1)])
def test_no_more_memory_is_taken_than_was_said(recorded: Record) -> None:
    data = rings(points=2000)
    given = plan(seeds=range(64), widths=(2, 30, 30, 1), data=data, record=recorded, epochs=1)
    run(given, backend="kernel", threads=2)
    said = needed(given, backend="kernel", threads=2)
    tracemalloc.start()
    try:
        run(given, backend="kernel", threads=2)
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Python's own objects and what is copied for a moment while points are laid out come on top.
    assert 0.5 * said < taken < 1.5 * said + 200_000


def test_progress_is_told_between_records_that_are_far_apart() -> None:
    told: list[Progress] = []
    run(plan(seeds=range(16), epochs=100, record=Record(losses=0)), told.append, backend="kernel")
    assert [each.done for each in told] == [0, 320, 640, 960, 1280, 1600]


def test_blocks_follow_the_memory_and_threads_the_blocks() -> None:
    given = plan(seeds=range(100))
    roomy = division.divide(given, Resources(backend="kernel", threads=8))
    assert roomy.at_once == 7
    one = needed(given, backend="kernel", threads=1)
    assert division.divide(given, Resources(backend="kernel", memory_bytes=one)).at_once == 1
    assert needed(plan(seeds=range(200)), backend="stacked") > needed(given, backend="stacked")


def test_a_listener_that_raises_stops_the_work() -> None:
    given = plan(seeds=range(64), epochs=2000)

    def stop(progress: Progress) -> None:
        if progress.done:
            raise KeyboardInterrupt

    for threads in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            run(given, stop, backend="kernel", threads=threads)


def test_a_fault_in_a_block_comes_out_of_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(division, "follow", broken)
    for threads in (1, 2):
        with pytest.raises(ZeroDivisionError):
            run(plan(seeds=range(64)), backend="kernel", threads=threads)


def test_a_fault_in_one_block_ends_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    whole = division.follow

    def broken(block: Any, given: Plan, sheets: Any, rows: range, tell: Any) -> None:
        begun.append(rows.start)
        if rows.start == 16:
            raise ZeroDivisionError
        whole(block, given, sheets, rows, tell)

    monkeypatch.setattr(division, "follow", broken)
    with pytest.raises(ZeroDivisionError):
        run(plan(seeds=range(640), epochs=2000), backend="kernel", threads=2)
    assert len(begun) < 20


def test_without_numba_the_stacked_backend_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(division, "find_spec", lambda _name: None)
    assert run(plan(epochs=1)).backend == "stacked"
    with pytest.raises(MissingExtraError) as caught:
        run(plan(), backend="kernel")
    assert str(caught.value) == "backend='kernel' needs numba; pip install 'headwater[lab]'"


def test_importing_the_engine_loads_neither_torch_nor_numba() -> None:
    check = (
        "import sys, headwater.lab.ensemble as e; "
        "e.Network(widths=(2, 5, 1)); "
        "sys.exit(bool({'torch', 'numba', 'llvmlite'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_the_kernel_trains_without_loading_torch() -> None:
    script = (
        "import sys, numpy as np\n"
        "from headwater.lab.ensemble import *\n"
        "data = Data(x=np.ones((8, 2)), y=np.ones(8))\n"
        "drawn = Members(seeds=[1], initialiser=Initialiser(hidden=he_uniform()))\n"
        "train(Network(widths=(2, 3, 1)), drawn, data, Training(epochs=1, optimiser=sgd(0.1)),\n"
        "      resources=Resources(backend='kernel'))\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
