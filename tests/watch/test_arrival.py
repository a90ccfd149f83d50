"""Hearing that a module has been imported, and leaving the import system as it was."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

from headwater.watch.arrival import when_imported


@pytest.fixture
def name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name of a package that nobody has imported; its modules note when they run."""
    package = tmp_path / "newly_arrived"
    package.mkdir()
    (package / "__init__.py").write_text("begun = True\nfrom . import inner\nended = True\n")
    (package / "inner.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield package.name
    for module in [module for module in sys.modules if module.startswith(package.name)]:
        del sys.modules[module]


def test_it_calls_once_and_after_the_module_has_run(name: str) -> None:
    heard = []
    with when_imported(name, lambda: heard.append(sys.modules[name].ended)):
        assert heard == []
        module = importlib.import_module(name)
        assert heard == [True]
        importlib.reload(module)
        importlib.import_module(name)
    assert heard == [True]


def test_a_submodule_imported_first_counts_for_its_parent(name: str) -> None:
    heard = []
    with when_imported(name, lambda: heard.append(name)):
        importlib.import_module(f"{name}.inner")
    assert heard == [name]


def test_it_calls_at_once_if_the_module_is_there_already(name: str) -> None:
    importlib.import_module(name)
    finders, heard = list(sys.meta_path), []
    with when_imported(name, lambda: heard.append(name)):
        assert heard == [name]
        assert sys.meta_path == finders


def test_the_finders_are_as_before_when_the_callback_is_called(name: str) -> None:
    finders, then = list(sys.meta_path), []
    with when_imported(name, lambda: then.extend(sys.meta_path)):
        assert sys.meta_path != finders
        importlib.import_module(name)
        assert sys.meta_path == finders
    assert then == finders


@pytest.mark.parametrize("ending", [None, ValueError, KeyboardInterrupt, SystemExit])
def test_the_finders_are_as_before_however_the_block_ends(
    name: str, ending: type[BaseException] | None
) -> None:
    finders = list(sys.meta_path)
    try:
        with when_imported(name, lambda: None):
            if ending is not None:
                raise ending
    except BaseException as error:
        assert type(error) is ending  # noqa: PT017
    assert sys.meta_path == finders


def test_after_the_block_an_import_is_not_heard(name: str) -> None:
    heard = []
    with when_imported(name, lambda: heard.append(name)):
        pass
    importlib.import_module(name)
    assert heard == []


def test_a_spec_found_in_the_block_and_run_after_it_is_not_heard(name: str) -> None:
    heard = []
    with when_imported(name, lambda: heard.append(name)):
        spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    assert module.ended
    assert heard == []


def test_looking_for_the_module_is_not_importing_it(name: str) -> None:
    heard = []
    with when_imported(name, lambda: heard.append(name)):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        assert spec.loader.is_package(name)  # type: ignore[attr-defined]
        assert heard == []
        importlib.import_module(name)
    assert heard == [name]


def test_the_module_sees_its_own_loader(name: str, tmp_path: Path) -> None:
    (tmp_path / name / "__init__.py").write_text(
        "import importlib.resources\n"
        "loaders = type(__loader__), type(__spec__.loader)\n"
        "text = importlib.resources.files(__name__).joinpath('inner.py').read_text()\n"
        "ended = True\n"
    )
    with when_imported(name, lambda: None):
        module = importlib.import_module(name)
    assert module.loaders == (SourceFileLoader, SourceFileLoader)
    assert module.__loader__ is module.__spec__.loader
    assert module.text == ""


def test_an_import_that_fails_is_not_heard_and_a_second_that_succeeds_is(
    name: str, tmp_path: Path
) -> None:
    source = tmp_path / name / "__init__.py"
    source.write_text("1 / 0\n")
    heard = []
    with when_imported(name, lambda: heard.append(name)):
        with pytest.raises(ZeroDivisionError) as caught:
            importlib.import_module(name)
        assert heard == []
        assert name not in sys.modules
        source.write_text("ended = True\n# longer than before\n")
        importlib.invalidate_caches()
        importlib.import_module(name)
        assert heard == [name]
    # The interpreter has left out every frame between this test's and the module's own.
    files = [str(frame.path) for frame in caught.traceback]
    assert not [file for file in files if "arrival" in file and "test_" not in file]


def test_a_module_that_is_not_there_stays_missing(name: str) -> None:
    finders = list(sys.meta_path)
    with when_imported(f"{name}_not", lambda: None), pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"{name}_not")
    assert sys.meta_path == finders


def test_an_import_in_another_thread_is_heard_there(name: str) -> None:
    heard: list[threading.Thread] = []
    with when_imported(name, lambda: heard.append(threading.current_thread())):
        thread = threading.Thread(target=importlib.import_module, args=(name,))
        thread.start()
        thread.join()
    assert heard == [thread]


def test_two_may_wait_for_the_same_module(name: str) -> None:
    finders, heard = list(sys.meta_path), []
    with when_imported(name, lambda: heard.append(1)), when_imported(name, lambda: heard.append(2)):
        importlib.import_module(name)
    assert sorted(heard) == [1, 2]
    assert sys.meta_path == finders
