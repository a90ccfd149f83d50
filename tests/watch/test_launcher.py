"""A script under `headwater run` cannot tell that it does not run under plain `python`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

import pytest

PLAIN = (sys.executable,)
OBSERVED = (sys.executable, "-m", "headwater", "run", "--quiet")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A script with its neighbours, and the words after `python`."""

    script: str | bytes
    words: tuple[str, ...] = ("script.py",)
    neighbours: dict[str, str] = field(default_factory=dict)
    stdin: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    stdout: str
    stderr: str
    code: int


def run(command: tuple[str, ...], words: tuple[str, ...], folder: Path, stdin: str = "") -> Outcome:
    done = subprocess.run(
        [*command, *words],
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=120,
        check=False,
    )
    return Outcome(stdout=done.stdout, stderr=done.stderr, code=done.returncode)


def lay_out(folder: Path, case: Case) -> None:
    for name, text in {"script.py": case.script, **case.neighbours}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else dedent(text).encode())


WORDS = {
    "arguments": Case(
        script="import sys; print(sys.argv)",
        words=("script.py", "--json", "-m", "x", "--", "--out", "é"),
    ),
    "a double dash first": Case(
        script="import sys; print(sys.argv)", words=("script.py", "--", "a")
    ),
    "standard input": Case(
        script="import sys; print(input()); print(repr(sys.stdin.read()))", stdin="one\ntwo\nthree"
    ),
    "a path with dots": Case(
        script="import sys; print(__file__, sys.argv, sys.path[0])",
        words=("./x/../script.py",),
        neighbours={"x/unused": ""},
    ),
    "a folder": Case(
        script="",
        words=("folder", "a"),
        neighbours={"folder/__main__.py": "import sys; print(sys.argv, sys.path[0], __package__)"},
    ),
    "a module": Case(
        script="""
            import sys
            print(sys.argv, sys.path[0], __spec__.name, __package__, sorted(globals()))
        """,
        words=("-m", "script", "a", "--b"),
    ),
    "a package": Case(
        script="",
        words=("-m", "package", "a"),
        neighbours={
            "package/__init__.py": "import sys; print('parent', sys.argv)",
            "package/__main__.py": "from . import near; import sys; print(sys.argv, __spec__.name)",
            "package/near.py": "print('near', __name__)",
        },
    ),
}

SURROUNDINGS = {
    "the names of __main__": Case(
        script="""
            import __main__, sys
            print(sorted(globals()), __name__, __file__, __spec__, __package__, __doc__, __cached__)
            print(__builtins__, type(__loader__), __loader__.name, __loader__.path)
            print(__annotations__, __main__ is sys.modules["__main__"], __main__.sys is sys)
        """
    ),
    "the docstring": Case(script='"""Words."""\nprint(__doc__)'),
    "its own folder first": Case(script="import sys, os; print(sys.path[0], os.getcwd())"),
    "a neighbour": Case(script="import near", neighbours={"near.py": "print(__name__, __file__)"}),
    "an empty script": Case(script=""),
    "a changed directory": Case(
        script="""
            import os
            os.mkdir("elsewhere")
            os.chdir("elsewhere")
            print(os.getcwd(), open(__file__).readline())
            raise SystemExit(4)
        """
    ),
    "an encoding cookie": Case(
        script="# -*- coding: latin-1 -*-\nprint(ascii('é'))\n1 / 0  # é\n".encode("latin-1")
    ),
    "a byte order mark": Case(script=b"\xef\xbb\xbfprint('bom')\r\nprint('crlf')\r\n"),
    "annotations are evaluated": Case(script="def f(x: 1 + 1): ...\nprint(f.__annotations__)"),
    "its source": Case(
        script="""
            import inspect, linecache, sys
            def f():
                return 1  # here
            print(inspect.getsource(f), inspect.getsourcefile(f))
            print(linecache.getline(__file__, 5), inspect.getmodule(f))
            print(inspect.getsource(sys.modules["__main__"])[:30])
        """
    ),
    "warnings": Case(
        script="""
            import warnings, near
            warnings.warn("old", DeprecationWarning)
            warnings.warn("new")
            near.old()
            print(x := "\\d")
        """,
        neighbours={
            "near.py": "import warnings\ndef old(): warnings.warn('x', DeprecationWarning)"
        },
    ),
    "pickles of its classes": Case(
        script="""
            import pickle
            class Thing:
                def __eq__(self, other): return type(other) is Thing
            text = pickle.dumps(Thing(), 0)
            print(text, pickle.loads(text) == Thing())
        """
    ),
    "no torch, no numpy, nothing heavy": Case(
        script="import sys; print({'torch', 'numpy', 'pyarrow', 'rich'} & set(sys.modules))"
    ),
    "the import system": Case(
        script="import sys; print(len(sys.path_hooks), sys.path_importer_cache is None)"
    ),
}

PROCESSES = {
    f"{method} {what}": Case(
        script=f"""
            import multiprocessing, os
            from dataclasses import dataclass
            @dataclass
            class Thing:
                number: int
            def square(thing, answers):
                answers.send((Thing(thing.number ** 2), __name__, os.getpid() != os.getppid()))
            print("top", __name__ == "__main__", flush=True)
            if __name__ == "__main__":
                context = multiprocessing.get_context("{method}")
                here, there = context.Pipe()
                process = context.Process(target=square, args=(Thing(3), there))
                process.start()
                print(here.recv())
                process.join()
                print(process.exitcode)
        """,
        words=words,
    )
    for method in ("fork", "spawn", "forkserver")
    for what, words in {"of a script": ("script.py",), "of a module": ("-m", "script")}.items()
} | {
    "a fork that reaches the end": Case(
        script="""
            import os, sys
            child = os.fork()
            if child:
                print("child ended with", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            else:
                sys.stdout.flush()
                raise SystemExit(5)
        """
    ),
    "a fork that raises": Case(
        script="""
            import os
            child = os.fork()
            if not child:
                1 / 0
            print("child ended with", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """
    ),
    "a subprocess of itself": Case(
        script="""
            import subprocess, sys
            if len(sys.argv) == 1:
                raise SystemExit(subprocess.call([sys.executable, *sys.argv, "again"]))
            print(sys.argv)
            sys.exit(6)
        """
    ),
}

ENDINGS = {
    **{
        f"sys.exit({code})": Case(script=f"import sys; print('out'); sys.exit({code})")
        for code in ("", "0", "3", "256", "-1", "None", "True", "'a message'", "('a', 1)", "2.5")
    },
    "exit()": Case(script="exit(3)"),
    "os._exit": Case(script="import os, sys; print('lost'); sys.stdout.flush(); os._exit(9)"),
    "an abort": Case(script="import os; os.abort()"),
    "handlers at exit": Case(
        script="""
            import atexit, sys
            atexit.register(print, "first registered")
            atexit.register(print, "last registered")
            sys.exit("words")
        """
    ),
    "handlers after an exception": Case(
        script="""
            import atexit, sys
            atexit.register(lambda: print("at exit", sys.last_value, sys.last_traceback.tb_lineno,
                                          sys.last_traceback.tb_frame.f_code.co_name))
            raise ValueError("x")
        """
    ),
    "a handler that raises": Case(script="import atexit\natexit.register(int, 'x')"),
    "a thread still running": Case(
        script="""
            import threading, time
            def late():
                time.sleep(0.3)
                print("late", threading.main_thread().is_alive())
            threading.Thread(target=late).start()
            print("end")
        """
    ),
    "a thread that raises": Case(
        script="import threading\nthreading.Thread(target=lambda: 1 / 0, name='t').start()"
    ),
    "an idle pool": Case(
        script="""
            from concurrent.futures import ThreadPoolExecutor
            pool = ThreadPoolExecutor(2)
            print(pool.submit(pow, 2, 3).result())
        """
    ),
    "finalisers": Case(
        script="""
            class Thing:
                def __del__(self): print("gone", __name__)
            thing = Thing()
            print("end")
        """
    ),
    "a closed stdout": Case(script="import sys; print('x'); sys.stdout.close()"),
    "a replaced stdout": Case(script="import sys, io; sys.stdout = io.StringIO(); print('lost')"),
    "a full stdout": Case(script="import sys; sys.stdout = open('/dev/full', 'w'); print('x')"),
    "a raised KeyboardInterrupt": Case(script="print('a')\nraise KeyboardInterrupt"),
    "a KeyboardInterrupt in a module": Case(
        script="raise KeyboardInterrupt", words=("-m", "script")
    ),
    "a kind of KeyboardInterrupt": Case(
        script="class Stop(KeyboardInterrupt): pass\nraise Stop('now')"
    ),
    "a caught KeyboardInterrupt": Case(
        script="""
            import os, signal, sys
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                sys.exit(7)
        """
    ),
    "its own SIGTERM": Case(script="import os, signal; os.kill(os.getpid(), signal.SIGTERM)"),
}

EXCEPTIONS = {
    "an exception": Case(script="def f(x):\n    return 1 / x\n\nprint('a')\nf(0)"),
    "an exception of a module": Case(script="def f():\n    1 / 0\nf()", words=("-m", "script")),
    "an exception of a folder": Case(
        script="", words=("folder",), neighbours={"folder/__main__.py": "1 / 0"}
    ),
    "an exception in a package's parent": Case(
        script="",
        words=("-m", "package.inner"),
        neighbours={"package/__init__.py": "1 / 0", "package/inner.py": ""},
    ),
    "a neighbour's exception": Case(
        script="import near\nnear.f()", neighbours={"near.py": "def f():\n    [][1]"}
    ),
    "a cause": Case(
        script="""
            try:
                {}["x"]
            except KeyError as error:
                raise ValueError("worse") from error
        """
    ),
    "a context": Case(script="try:\n    1 / 0\nfinally:\n    [][0]"),
    "a cause within a function": Case(
        script="""
            def inner(): raise OSError(2, "no", "file")
            def outer():
                try: inner()
                except OSError as error: raise RuntimeError("outer") from error
            try: outer()
            except RuntimeError: raise LookupError
        """
    ),
    "a group": Case(
        script="""
            def make(n):
                try: raise ValueError(n)
                except ValueError as error: return error
            raise ExceptionGroup("many", [make(1), ExceptionGroup("inner", [make(2)])])
        """
    ),
    "a note": Case(script="error = ValueError('x')\nerror.add_note('one\\ntwo')\nraise error"),
    "an exception without text": Case(script="class Odd(BaseException): pass\nraise Odd"),
    "an exception whose text raises": Case(
        script="class Odd(Exception):\n    def __str__(self): 1 / 0\nraise Odd"
    ),
    "an excepthook of its own": Case(
        script="""
            import sys, traceback
            def hook(kind, value, trace):
                print("hook", kind, value, traceback.extract_tb(trace), sys.excepthook is hook)
                traceback.print_exception(value)
            sys.excepthook = hook
            1 / 0
        """
    ),
    "a missing import": Case(script="import no_such_module_anywhere"),
    "a traceback it prints itself": Case(
        script="""
            import traceback
            try: 1 / 0
            except ZeroDivisionError: traceback.print_exc()
        """
    ),
    "a torch that cannot be imported": Case(
        script="import torch", neighbours={"torch.py": "def f():\n    1 / 0\nf()"}
    ),
    "a torch that cannot be imported, caught": Case(
        script="""
            import sys, traceback
            finders = list(map(repr, sys.meta_path))
            try: import torch
            except ZeroDivisionError: traceback.print_exc()
            print("torch" in sys.modules)
        """,
        neighbours={"torch.py": "def f():\n    1 / 0\nf()"},
    ),
    "a torch with a syntax error": Case(script="import torch", neighbours={"torch.py": "1 +"}),
}

NOT_PYTHON = {
    "a syntax error": Case(script="x = (\nprint(x"),
    "an indentation error": Case(script="if 1:\nx = 1\n"),
    "a syntax error in a neighbour": Case(script="import near", neighbours={"near.py": "1 +"}),
    "a syntax error in a module": Case(script="1 +", words=("-m", "script")),
    "return outside a function": Case(script="x = '\\d'\nreturn 2\n"),
    "bytes that are no text": Case(script=b"x = 1\ny = '\xe9'\n", words=("script.py", "a", "-m")),
    "an unknown encoding": Case(script="# coding: nonsense\nx = 1\n"),
    "a null byte": Case(script=b"x = 1\0\n"),
}

CASES = {**WORDS, **SURROUNDINGS, **PROCESSES, **ENDINGS, **EXCEPTIONS, **NOT_PYTHON}


@pytest.mark.parametrize("name", CASES)
def test_a_script_prints_and_ends_as_under_plain_python(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    outcomes = []
    for command in (PLAIN, OBSERVED):
        # The same path both times: it stands in tracebacks.
        folder = tmp_path / "work"
        folder.mkdir()
        lay_out(folder, case)
        outcomes.append(run(command, case.words, folder, case.stdin))
        folder.rename(tmp_path / f"done{len(outcomes)}")
    assert outcomes[1] == outcomes[0]


def test_a_neighbour_may_be_named_like_a_module_that_headwater_uses(tmp_path: Path) -> None:
    (tmp_path / "argparse.py").write_text("print('their argparse')")
    (tmp_path / "script.py").write_text("import argparse")
    installed = (sys.executable, str(Path(sys.executable).with_name("headwater")), "run")
    assert run((*installed, "--quiet"), ("script.py",), tmp_path) == Outcome(
        stdout="their argparse\n", stderr="", code=0
    )


def test_the_cases_are_not_all_silent_successes(tmp_path: Path) -> None:
    lay_out(tmp_path, CASES["an exception"])
    outcome = run(OBSERVED, ("script.py",), tmp_path)
    assert outcome.code == 1
    assert outcome.stdout == "a\n"
    assert "ZeroDivisionError" in outcome.stderr
    assert "headwater" not in outcome.stderr


@pytest.mark.parametrize("command", [PLAIN, OBSERVED], ids=["plain", "observed"])
def test_an_interrupt_from_the_terminal_ends_it_by_the_signal(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text(
        "import atexit, time\natexit.register(print, 'at exit')\n"
        "print('ready', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [*command, "script.py"], cwd=tmp_path, stdout=-1, stderr=-1, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert stdout == "at exit\n"
    first, *_, last = stderr.splitlines()
    assert (first, last) == ("Traceback (most recent call last):", "KeyboardInterrupt")
    assert stderr.count("File ") == stderr.count(f'File "{tmp_path}/script.py", line 3') == 1


def test_a_script_that_never_imports_torch_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("print('hello')\n")
    outcome = run(OBSERVED, ("script.py",), tmp_path)
    assert outcome == Outcome(stdout="hello\n", stderr="", code=0)
    assert list(tmp_path.iterdir()) == [tmp_path / "script.py"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("scirpt.py",), "no script 'scirpt.py'; did you mean 'script.py'?"),
        (("folder/scrip.py",), "no script 'folder/scrip.py'; did you mean 'folder/script.py'?"),
        (("nothing",), "no script 'nothing'; give the path of a Python file, or -m MODULE"),
        (("-m", "scirpt"), "no module 'scirpt'; did you mean 'script'?"),
        (("-m", "a.b.c"), "no module 'a.b.c'; give the path of a Python file, or -m MODULE"),
        (
            ("-m", "folder"),
            "cannot run module 'folder': No module named folder.__main__; 'folder' is a package "
            "and cannot be directly executed; name one that python can run",
        ),
        (
            ("folder",),
            "cannot run script 'folder': can't find '__main__' module in '{cwd}/folder'; "
            "name one that python can run",
        ),
        ((), "no script given; headwater run SCRIPT, or headwater run -m MODULE"),
    ],
)
def test_what_cannot_be_run_is_said_in_one_line(
    words: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("script.py", "folder/script.py"):
        (tmp_path / name).write_text("")
    outcome = run(OBSERVED, words, tmp_path)
    assert outcome == Outcome(stdout="", stderr=f"headwater: {said.format(cwd=tmp_path)}\n", code=2)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_script_that_may_not_be_read_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "script.py").touch(mode=0)
    outcome = run(OBSERVED, ("script.py",), tmp_path)
    assert outcome.code == 2
    assert outcome.stderr.startswith(
        "headwater: cannot read script 'script.py' (Permission denied)"
    )
