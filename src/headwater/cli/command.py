"""What a command is: a module of this folder, or anything else with these two functions."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Protocol


class Command(Protocol):
    """Says what it takes, and does it."""

    @staticmethod
    def add_arguments(parser: ArgumentParser, /) -> None:
        """Declare the command's options and words; importing nothing heavy."""

    @staticmethod
    def run(arguments: Namespace, /) -> int:
        """Do it and return the exit code.

        Raises:
            HeadwaterError: It cannot be done as asked; the message says why (exit code 2).
        """
        ...
