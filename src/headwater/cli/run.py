"""``headwater run``: observe a training script and say what is wrong with it."""

from __future__ import annotations

import os
from argparse import REMAINDER, ArgumentParser, Namespace
from datetime import datetime
from pathlib import Path

from headwater.cli.observed import Observed
from headwater.errors import UsageError
from headwater.watch.arrival import when_imported
from headwater.watch.folder import given_folder
from headwater.watch.launcher import Target, launch
from headwater.watch.options import (
    Options,
    need_safetensors,
    parse_every,
    parse_overhead,
    parse_steps,
)

EPILOGUE = """\
The script's output, exit code and exceptions are its own. What was observed is said on stderr
after its end; with --json the findings are written to stdout, after all the script wrote there.
exit codes: the script's own; 3 if that is 0 and there are findings at or over --fail-on, or if
--stop-on ended it; 70 if it is 0 and headwater itself failed
"""


def add_arguments(parser: ArgumentParser, /) -> None:
    """Declare the command's options."""
    parser.usage = "headwater run [options] (SCRIPT | -m MODULE) [ARGS]"
    parser.epilog = EPILOGUE
    add = parser.add_argument
    add(
        "--out", metavar="DIR", type=Path, help="the run's folder; else a new one in headwater-runs"
    )
    add("--overhead", metavar="SHARE", default="1%", help="the observer's budget (default: 1%%)")
    add("--every", metavar="N", help="sample every Nth step, and 1, 2, 4, … before the first N")
    add("--steps", metavar="A:B", help="sample the steps from A to before B, whatever it costs")
    add("--eager-samples", action="store_true", help="run compiled code uncompiled where sampled")
    add("--stop-on", choices=("non-finite",), help="end the training at the step that breaks")
    add("--keep-state", action="store_true", help="keep that step's batch, weights, random state")
    add("--rewind", action="store_true", help="where numbers broke untold, run again up to there")
    add("--fail-on", choices=("warning", "error"), help="exit with 3 if findings are so severe")
    add("--json", action="store_true", help="write the findings to stdout after the script's end")
    add("--quiet", action="store_true", help="say nothing after the script's end")
    # A flag, and no option with a value: argparse would look for our options in the words after it.
    add("-m", dest="module", action="store_true", help="run a module, as python -m does")
    # One word list, as argparse drops a "--" that stands between two.
    add("words", metavar="SCRIPT [ARGS]", nargs=REMAINDER, help="the script, and its own arguments")


def run(arguments: Namespace, /) -> int:
    """Run the script under observation; return its exit code, or ours."""
    words = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
    if not words:
        raise UsageError("no script given; headwater run SCRIPT, or headwater run -m MODULE")
    target = Target(name=words[0], arguments=tuple(words[1:]), module=arguments.module)
    if arguments.keep_state:
        need_safetensors("--keep-state")
    environ = dict(os.environ)  # as it is before the script changes it
    observed = Observed(
        target=target,
        options=_options(arguments),
        out=given_folder(arguments.out, environ) if arguments.out else None,
        start=Path.cwd(),
        environ=environ,
        now=datetime.now(),
        fail_on=arguments.fail_on,
        json=arguments.json,
        quiet=arguments.quiet,
        rewind=arguments.rewind,
    )
    with when_imported("torch", observed.begin):
        return launch(target, observed.end)


def _options(arguments: Namespace) -> Options:
    return Options(
        overhead=parse_overhead(arguments.overhead),
        every=parse_every(arguments.every) if arguments.every is not None else None,
        steps=parse_steps(arguments.steps) if arguments.steps is not None else None,
        eager_samples=arguments.eager_samples,
        stop_on=arguments.stop_on,
        keep_state=arguments.keep_state,
    )
