"""``headwater check``: a network before training, theory beside measurement."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable

DRAWS = 5


def add_arguments(parser: ArgumentParser, /) -> None:
    """Declare the command's options."""
    parser.epilog = (
        "FACTORY is a function without arguments (or a class) that returns a module, a pair of\n"
        "module and batch, or these and a loss function; a batch is a tensor or (inputs, target).\n"
        "exit codes: 0; 2 usage; 3 findings at or over --fail-on"
    )
    add = parser.add_argument
    add("factory", metavar="FILE:FACTORY", help="as in model.py:build")
    add(
        "--draws",
        type=_count,
        default=DRAWS,
        metavar="N",
        help=f"networks drawn, with seeds 0, 1, … (default {DRAWS})",
    )
    add("--layers", type=_size, default=24, metavar="N", help="layers shown; 0 for all (24)")
    add("--json", action="store_true", help="all figures as JSON")
    add("--fail-on", choices=("warning", "error"), help="exit with 3 if findings are so severe")
    add("--color", choices=("auto", "always", "never"), default="auto", help="(default auto)")


def run(arguments: Namespace, /) -> int:
    """Check the network, print what was found, and return 3 if that is asked for and severe."""
    import json
    import sys

    from headwater.checks.checking import check
    from headwater.checks.factories import load
    from headwater.cli.faults import FINDINGS
    from headwater.records import SEVERITIES
    from headwater.reports.checked import check_lines
    from headwater.reports.output import rendered, screen_width

    progress = _progress()
    found = check(load(arguments.factory), draws=arguments.draws, progress=progress)
    if arguments.json:
        print(json.dumps(found.to_json(), indent=2))
    else:
        lines = check_lines(found, screen_width(sys.stdout), arguments.layers)
        sys.stdout.write(rendered(lines, color=arguments.color, file=sys.stdout))
    if arguments.fail_on is None:
        return 0
    level = SEVERITIES.index(arguments.fail_on)
    severe = any(SEVERITIES.index(finding.severity) >= level for finding in found.findings)
    return FINDINGS if severe else 0


def _progress() -> Callable[[int, int], None]:
    """Return what shows progress: a line on stderr that is wiped, none where it is no terminal."""
    import sys

    if not sys.stderr.isatty():
        return lambda _done, _of: None

    def show(done: int, of: int) -> None:
        text = f"\rmeasured {done} of {of}" if done < of else "\r\x1b[K"
        print(text, end="", file=sys.stderr, flush=True)

    return show


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise ArgumentTypeError(f"it takes a whole number from 1 to 10000, got {text!r}")
    return int(text)


def _size(text: str) -> int:
    if not text.isdecimal():
        raise ArgumentTypeError(f"it takes a whole number from 0 on, got {text!r}")
    return int(text)
