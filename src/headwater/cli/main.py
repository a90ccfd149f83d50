"""The ``headwater`` command: the list of commands, and what becomes of errors."""

from __future__ import annotations

import os
import sys
from argparse import SUPPRESS, ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple, cast

from headwater import __version__
from headwater.cli.command import Command
from headwater.cli.faults import FAULT, USAGE, fault_line, say
from headwater.errors import HeadwaterError
from headwater.watch.launcher import belongs_to_script


class Entry(NamedTuple):
    """A line of ``headwater --help``; the module is imported when the command is called."""

    name: str
    words: str
    summary: str

    def load(self) -> Command:
        """Import the command."""
        return cast("Command", import_module(f"headwater.cli.{self.name}"))


COMMANDS = (
    Entry("demo", "", "a broken network, what is wrong with it and on which line"),
    Entry("run", "[options] SCRIPT [ARGS]", "observe a training script (also -m MODULE)"),
    Entry("show", "[RUN]", "findings and the annotated source in the terminal"),
    Entry("explain", "[CODE|CAUSE]", "what a finding's code or cause means, and what to do"),
    Entry("check", "FILE:FACTORY", "signal and gradient of a network before it trains"),
    Entry("theory", "[options] ACTIVATION", "moments, gains, critical points, forecasts"),
    Entry("lab", "list | run NAME...", "the classic experiments, each a claim held to numbers"),
    Entry("export", "[RUN] --to FORMAT", "the record's tables for other tools"),
)

EPILOGUE = """\
`headwater COMMAND --help` says more. No RUN means the newest in headwater-runs.

exit codes: the script's own; 2 usage; 3 findings at or over --fail-on; 70 a fault of headwater
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that ``argv`` names and return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        entry = next((entry for entry in COMMANDS if words[:1] == [entry.name]), None)
        if entry is None:
            top_parser().parse_args(words)  # --help, --version, or a wrong command: it exits
            top_parser().print_help()
            return 0
        command = entry.load()
        arguments = command_parser(entry, command).parse_args(words[1:])
        return command.run(arguments)
    except KeyboardInterrupt as interrupt:
        if not belongs_to_script(interrupt):
            sys.excepthook = lambda *_: None  # dies of the signal, as any tool, but silently
        raise
    except BrokenPipeError as error:
        if belongs_to_script(error):
            raise
        return _stop_writing()
    except Exception as error:
        if belongs_to_script(error):
            raise
        return _tell(error)


def top_parser() -> ArgumentParser:
    """Return the parser of what stands before a command."""
    width = max(len(f"{entry.name} {entry.words}") for entry in COMMANDS)
    lines = [f"  {f'{entry.name} {entry.words}':{width}}  {entry.summary}" for entry in COMMANDS]
    parser = ArgumentParser(
        prog="headwater",
        usage="headwater COMMAND ...",
        description="The gradient-flow profiler for PyTorch.\n\ncommands:\n" + "\n".join(lines),
        epilog=EPILOGUE,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"headwater {__version__}")
    names = [entry.name for entry in COMMANDS]
    parser.add_argument("command", nargs="?", choices=names, help=SUPPRESS)
    return parser


def command_parser(entry: Entry, command: Command) -> ArgumentParser:
    """Return the parser of what follows a command's name."""
    parser = ArgumentParser(
        prog=f"headwater {entry.name}",
        description=f"{entry.summary[0].upper()}{entry.summary[1:]}.",
        allow_abbrev=False,
        formatter_class=RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    return parser


def _tell(error: Exception) -> int:
    if isinstance(error, HeadwaterError):
        say(str(error))
        return USAGE
    if os.environ.get("HEADWATER_DEBUG"):
        raise error
    say(fault_line(error))
    return FAULT


def _stop_writing() -> int:
    # The reader of our output left, as in `headwater show | head`: not an error, but the
    # interpreter's last flush must not meet the broken pipe again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0
