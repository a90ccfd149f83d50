"""Running an unmodified script as plain ``python`` runs it.

Nothing here may import torch, numpy or pyarrow: the script must be the first to import torch.
"""

from __future__ import annotations

import builtins
import os
import runpy
import subprocess
import sys
import zipimport
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from importlib.util import decode_source
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import Any, NoReturn

from headwater.errors import ScriptNotFoundError, UsageError
from headwater.watch.tracebacks import hide_our_frames

INTERRUPTED = 130
"""The exit code that shells report for a process that Ctrl-C ended."""

# CPython runs ``python -m`` through this very function, so its frames, messages and treatment of
# packages are python's own; the public run_module() differs in all three.
_run_as_main: Callable[[str, bool], Any] = vars(runpy)["_run_module_as_main"]

Closing = Callable[[int, str | None], int]
"""Called once after the script's end with its exit code and exception; returns the exit code."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """What to run: a script's path or a module's name, and the words that follow it.

    Example:
        >>> Target(name="-", module=True).words
        ('-m', '-')
    """

    name: str
    arguments: tuple[str, ...] = ()
    module: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """What would follow ``python`` on a command line."""
        return (*(("-m",) if self.module else ()), self.name, *self.arguments)

    @property
    def stem(self) -> str:
        """A name for the run's folder.

        Example:
            >>> Target(name="train/mnist.py").stem, Target(name="pkg.train", module=True).stem
            ('mnist', 'pkg.train')
        """
        return self.name if self.module else Path(self.name).absolute().stem


def launch(target: Target, closing: Closing) -> int:
    """Run ``target`` as plain ``python`` would, then call ``closing``; return the exit code.

    Whatever ends the script is raised again, for the interpreter itself to print and to turn
    into an exit status; ``closing`` is then called after the traceback is printed. A process
    forked by the script that reaches the script's end does not call it.

    Raises:
        ScriptNotFoundError: There is no such script or module.
        UsageError: It is there, but cannot be read or run.
    """
    close = _in_this_process(closing)
    run = _prepare(target)
    try:
        run()
    except SystemExit as ending:
        if _never_ran(ending):
            raise _why_not(target, str(ending.code)) from None
        wanted = _exit_code(ending)
        code = close(wanted, None)
        if code == wanted:
            raise
        return code
    except BaseException as error:
        sys.excepthook = _ScriptsException(error, close)
        raise
    return close(0, None)


def belongs_to_script(error: BaseException) -> bool:
    """Say whether ``error`` ended the script and is on its way to the interpreter."""
    return isinstance(sys.excepthook, _ScriptsException) and sys.excepthook.error is error


class _ScriptsException:
    """An excepthook for the script's last exception: prints it without our frames, then closes."""

    def __init__(self, error: BaseException, close: Closing) -> None:
        self.error = error
        self.close = close
        self.theirs = sys.excepthook  # the script may have set its own

    def __call__(
        self, kind: type[BaseException], value: BaseException, _trace: TracebackType | None
    ) -> None:
        sys.excepthook = self.theirs
        hide_our_frames(value, _BOUNDARY)
        sys.last_traceback = value.__traceback__
        try:
            self.theirs(kind, value, value.__traceback__)
        finally:
            interrupted = type(value) is KeyboardInterrupt
            self.close(INTERRUPTED if interrupted else 1, describe(value))
            if interrupted:
                _remember_interrupt()


def _remember_interrupt() -> None:
    # An interpreter whose program Ctrl-C ended kills itself by the signal, for the shell to see.
    # It forgets to once any text has been executed since, as every namedtuple does; a text that
    # ends by an interrupt reminds it.
    with suppress(KeyboardInterrupt):
        exec("raise KeyboardInterrupt")


def _in_this_process(closing: Closing) -> Closing:
    process = os.getpid()

    def close(code: int, exception: str | None) -> int:
        return closing(code, exception) if os.getpid() == process else code

    return close


def _exit_code(ending: SystemExit) -> int:
    """Return the status that the interpreter makes of a SystemExit."""
    if ending.code is None:
        return 0
    return ending.code if isinstance(ending.code, int) else 1


def describe(error: BaseException) -> str:
    """Return an exception's type and text, as the record names it."""
    try:
        text = str(error)
    except Exception:  # a script's exception may have a broken __str__
        text = "(its text cannot be shown)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


# ---------------------------------------------------------------- the script's own __main__


def _prepare(target: Target) -> Callable[[], object]:
    """Make the process look as ``python`` leaves it just before the script's first line."""
    main = ModuleType("__main__")
    vars(main).update(__builtins__=builtins, __annotations__={})
    if target.module:
        _become(target, main, str(Path.cwd()))
        return lambda: _run_module(target.name, True)
    # Joined, not normalised: python keeps the dots of "./x.py" and "a/../x.py" in __file__.
    path = os.path.join(Path.cwd(), target.name)  # noqa: PTH118
    if _holds_main(path):
        _become(target, main, path)
        return lambda: _run_module("__main__", False)
    source = _read(target.name)
    loader = SourceFileLoader("__main__", path)
    vars(main).update(__file__=path, __cached__=None, __loader__=loader)
    _become(target, main, str(Path(path).resolve().parent))
    return lambda: _run_script(source, path, vars(main))


def _become(target: Target, main: ModuleType, first_path: str) -> None:
    sys.modules["__main__"] = main  # never put back: atexit handlers and threads outlive the script
    sys.argv = ["-m" if target.module else target.name, *target.arguments]
    if not sys.flags.safe_path:
        sys.path[0] = first_path
        _forget_shadowed(Path(first_path))


def _forget_shadowed(folder: Path) -> None:
    """Let a script's neighbour shadow a module of the standard library, where we were first."""
    for name, module in list(sys.modules.items()):
        origin = getattr(getattr(module, "__spec__", None), "origin", None)
        if "." in name or origin in (None, "built-in", "frozen") or name == "headwater":
            continue
        if (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file():
            del sys.modules[name]


def _run_script(source: bytes, path: str, namespace: dict[str, Any]) -> None:
    try:
        decode_source(source)
        undecodable = b"\0" in source
    except (SyntaxError, UnicodeDecodeError):
        undecodable = True
    if undecodable:
        _leave_to_python()
    # dont_inherit: this file's own __future__ imports are not the script's.
    exec(compile(source, path, "exec", dont_inherit=True), namespace)


def _run_module(name: str, alter_argv: bool) -> None:
    _run_as_main(name, alter_argv)


_BOUNDARY: frozenset[CodeType] = frozenset({_run_script.__code__, _run_module.__code__})


def _leave_to_python() -> NoReturn:
    # compile() words its complaint about bytes otherwise than python does about a file.
    flags = vars(subprocess)["_args_from_interpreter_flags"]()
    sys.exit(subprocess.call([sys.executable, *flags, *sys.argv]))


# ---------------------------------------------------------------- what cannot be run


def _holds_main(script: str) -> bool:
    """Say whether ``script`` is a folder or an archive, which python runs by its __main__."""
    try:
        zipimport.zipimporter(script)
    except zipimport.ZipImportError:
        return Path(script).is_dir()
    return True


def _read(script: str) -> bytes:
    try:
        return Path(script).read_bytes()
    except FileNotFoundError:
        folder = Path(script).parent
        names = {path.name: str(folder / path.name) for path in folder.glob("*.py")}
        near = _nearest(Path(script).name, list(names))
        raise ScriptNotFoundError(script, near=names.get(near, "")) from None
    except OSError as error:
        raise UsageError(
            f"cannot read script {script!r} ({error.strerror}); give the path of a Python file "
            "that this user may read"
        ) from None


def _never_ran(ending: SystemExit) -> bool:
    """Say whether runpy gave up before the module's first line."""
    trace = ending.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code is _code_of(_run_as_main)


def _code_of(function: Callable[..., Any]) -> CodeType | None:
    return getattr(function, "__code__", None)


def _why_not(target: Target, complaint: str) -> UsageError:
    why = complaint.removeprefix(f"{sys.executable}: ")
    root = target.name.partition(".")[0]
    if target.module and why.endswith((f"No module named {target.name}", f"named {root!r})")):
        from pkgutil import iter_modules

        here = [module.name for module in iter_modules([str(Path.cwd())])]
        near = _nearest(target.name, here)
        return ScriptNotFoundError(target.name, near=near, what="module")
    what = "module" if target.module else "script"
    return UsageError(f"cannot run {what} {target.name!r}: {why}; name one that python can run")


def _nearest(name: str, known: list[str]) -> str:
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, known, n=1)), "")
