"""The list of commands, and what becomes of an error in one of them."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from headwater import __version__
from headwater.cli.main import COMMANDS, Entry, main

HEAVY = {"torch", "numpy", "pyarrow", "rich", "scipy"}


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], int]], None]:
    """Put a body in the place of every command's."""

    def put(body: Callable[[], int]) -> None:
        stand_in = SimpleNamespace(add_arguments=lambda parser: None, run=lambda arguments: body())
        monkeypatch.setattr(Entry, "load", lambda entry: stand_in)

    return put


@pytest.mark.parametrize(
    "words", [[], ["--help"], ["--version"], *([e.name, "--help"] for e in COMMANDS)]
)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    done = python(
        "import sys\nfrom headwater.cli.main import main\n"
        f"try: code = main({words!r})\nexcept SystemExit as end: code = end.code\n"
        f"print(code or 0, sorted({HEAVY!r} & set(sys.modules)))"
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "0 []"


def test_help_lists_every_command_and_the_exit_codes() -> None:
    done = python("from headwater.cli.main import main; main(['--help'])")
    for entry in COMMANDS:
        assert f"  {entry.name} {entry.words}".rstrip() in done.stdout
        assert entry.summary in done.stdout
    for word in ("the script's own", "2 usage", "3 findings", "70 a fault"):
        assert word in done.stdout


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out.startswith("usage: headwater COMMAND")


def test_the_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"headwater {__version__}\n"


@pytest.mark.parametrize(
    "words", [["rum"], ["--nonsense"], ["run", "--nonsense", "x.py"], ["export"]]
)
def test_wrong_words_are_a_usage_error(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_a_command_s_exit_code_is_ours(command: Callable[[Callable[[], int]], None]) -> None:
    command(lambda: 3)
    assert main(["show"]) == 3


def test_what_cannot_be_done_is_one_line_and_exit_code_2() -> None:
    done = python(_body("headwater.errors.RunNotFoundError('headwater-runs')"))
    assert done.returncode == 2
    assert done.stderr == (
        "headwater: no run in 'headwater-runs'; `headwater run SCRIPT` makes one\n"
    )


def _body(error: str) -> str:
    """Return a program whose `show` command raises ``error``."""
    return (
        "import sys, types, headwater.errors\nfrom headwater.cli.main import Entry, main\n"
        f"def body(arguments): raise {error}\n"
        "command = types.SimpleNamespace(add_arguments=lambda parser: None, run=body)\n"
        "Entry.load = lambda entry: command\nsys.exit(main(['show']))"
    )


def test_a_fault_of_ours_is_one_line_and_exit_code_70() -> None:
    done = python(_body("KeyError('x')"))
    assert done.returncode == 70
    assert done.stderr == (
        "headwater: a fault of headwater's: KeyError: 'x' (HEADWATER_DEBUG=1 shows the traceback)\n"
    )


def test_a_fault_of_ours_shows_its_traceback_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_DEBUG", "1")
    done = python(_body("KeyError('x')"))
    assert "Traceback" in done.stderr
    assert done.stderr.endswith("KeyError: 'x'\n")


def test_ctrl_c_ends_a_command_by_the_signal_and_in_silence() -> None:
    done = python(_body("KeyboardInterrupt"))
    assert done.returncode == -2
    assert done.stderr == ""


def test_a_reader_that_leaves_is_no_error() -> None:
    code = _body("BrokenPipeError").replace("raise", "print('x' * 100_000); raise")
    reader = subprocess.run(
        f'"{sys.executable}" -c "$CODE" | head -c 1; echo " ${{PIPESTATUS[0]}}"',
        shell=True, executable="/bin/bash", env={"CODE": code}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert reader.stdout == "x 0\n"
    assert reader.stderr == ""


def test_arguments_reach_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Namespace] = []

    def run(arguments: Namespace) -> int:
        heard.append(arguments)
        return 0

    stand_in = SimpleNamespace(
        add_arguments=lambda parser: parser.add_argument("--width", type=int), run=run
    )
    monkeypatch.setattr(Entry, "load", lambda entry: stand_in)
    assert main(["show", "--width", "7"]) == 0
    assert heard == [Namespace(width=7)]
