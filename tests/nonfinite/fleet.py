"""Runs many scripts, each in a process of its own that need not import torch again.

    python fleet.py (observed | rewound | anomalies | plain) SCRIPT...

writes one line of JSON a script: ``{"name", "code", "stdout", "stderr", "faults", "findings"}``.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def observed(script: Path, folder: Path) -> int:
    """Run a script as ``headwater run --json SCRIPT`` does."""
    from headwater.cli.main import main

    out = str(folder / "run")
    sys.argv = ["headwater", "run", "--json", "--out", out, *OPTIONS, str(script)]
    return main()


def rewound(script: Path, folder: Path) -> int:
    """Run a script with ``--rewind`` where its steps cannot be run again in a copy."""
    from headwater.watch import faults, rewind

    vars(faults)["why_not_forked"] = lambda: "it may not"
    vars(rewind)["_run"] = _in_a_fork
    OPTIONS.append("--rewind")
    return observed(script, folder)


def _in_a_fork(folder: Path, start: Path, environ: Any) -> None:
    """Run the script again where torch is there already, not in a process that is started."""
    from headwater.watch import rewind

    process = os.fork()
    if process == 0:
        try:
            os.chdir(start)
            for stream in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
            rewind.main([str(folder)])
        finally:
            os._exit(1)
    os.waitpid(process, 0)


def anomalies(script: Path, folder: Path) -> int:
    """Run a script under torch's own detector."""
    import torch

    torch.autograd.set_detect_anomaly(True, check_nan=True)
    sys.argv = [str(script)]
    sys.path[0] = str(script.parent)
    runpy.run_path(str(script), run_name="__main__")
    return 0


def plain(script: Path, folder: Path) -> int:
    """Run a script, and say how many losses, gradients and weights of it were not finite."""
    import torch
    from torch.optim.optimizer import register_optimizer_step_post_hook

    sys.argv = [str(script)]
    sys.path[0] = str(script.parent)
    bad = {"losses": 0, "gradients": 0, "weights": 0}

    def count(what: str, tensors: Any) -> None:
        tensors = [each for each in tensors if each is not None]
        bad[what] += any(not bool(each.detach().isfinite().all()) for each in tensors)

    originals = torch.autograd.backward, torch.autograd.grad

    def backward(tensors: Any, *args: Any, **words: Any) -> None:
        count("losses", [tensors] if isinstance(tensors, torch.Tensor) else tensors)
        originals[0](tensors, *args, **words)
        count("gradients", (leaf.grad for leaf in leaves_of(tensors)))

    def grad(outputs: Any, *args: Any, **words: Any) -> Any:
        count("losses", [outputs] if isinstance(outputs, torch.Tensor) else outputs)
        found = originals[1](outputs, *args, **words)
        count("gradients", found)
        return found

    def stepped(optimiser: Any, *_: Any) -> None:
        count("weights", (each for group in optimiser.param_groups for each in group["params"]))

    torch.autograd.backward, torch.autograd.grad = backward, grad
    register_optimizer_step_post_hook(stepped)
    runpy.run_path(str(script), run_name="__main__")
    print(json.dumps(bad))
    return 0


def leaves_of(tensors: Any) -> list[Any]:
    """Return the leaves of a graph whose gradients a backward pass fills."""
    roots = [tensors] if not isinstance(tensors, list | tuple) else list(tensors)
    waiting, met, leaves = [root.grad_fn for root in roots], set(), []
    while waiting:
        node = waiting.pop()
        if node is None or node in met:
            continue
        met.add(node)
        if hasattr(node, "variable"):
            leaves.append(node.variable)
        waiting += [child for child, _ in node.next_functions]
    return leaves


WAYS: dict[str, Callable[[Path, Path], int]] = {
    "observed": observed,
    "rewound": rewound,
    "anomalies": anomalies,
    "plain": plain,
}
OPTIONS: list[str] = []
"""More options for ``headwater run``."""


def run(way: str, script: Path) -> dict[str, Any]:
    """Return what a script said and left."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process = os.fork()
        if process == 0:
            _be(way, script, folder)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        told: dict[str, Any] = {"name": script.stem, "code": code}
        for stream in ("stdout", "stderr"):
            told[stream] = (folder / stream).read_text(errors="replace")
        info = folder / "run" / "run.json"
        if info.exists():
            told["faults"] = json.loads(info.read_bytes()).get("faults", [])
            findings = folder / "run" / "findings.json"
            told["findings"] = json.loads(findings.read_bytes()) if findings.exists() else None
    return told


def _be(way: str, script: Path, folder: Path) -> None:
    code = 1
    try:
        os.chdir(folder)
        for number, stream in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(folder / stream, os.O_WRONLY | os.O_CREAT), number)
        code = WAYS[way](script, folder)
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else 1
    except BaseException as error:
        kind, trace = type(error), error.__traceback__
        sys.excepthook(kind, error, trace)  # as the interpreter does
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main(words: Sequence[str]) -> None:
    """Run all scripts one after the other."""
    import torch

    import headwater.cli.run
    import headwater.rules
    import headwater.runs.reader
    import headwater.watch.observation  # noqa: F401  # once, for all that are forked

    torch.optim.SGD([torch.nn.Parameter(torch.ones(1))])  # the first one imports much
    torch.set_num_threads(1)
    while words[1].startswith("--"):
        OPTIONS.append(words[1])
        words = [words[0], *words[2:]]
    for word in words[1:]:
        try:
            print(json.dumps(run(words[0], Path(word).resolve())), flush=True)
        except Exception:
            traceback.print_exc()


if __name__ == "__main__":
    main(sys.argv[1:])
