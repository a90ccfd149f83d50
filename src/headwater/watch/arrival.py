"""Learning that a module has been imported, without importing it first.

A script may set ``OMP_NUM_THREADS`` or ``CUDA_VISIBLE_DEVICES`` before it imports torch; whoever
imported torch for it would be too early.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


@contextmanager
def when_imported(name: str, callback: Callable[[], None]) -> Iterator[None]:
    """Call ``callback`` once in this block, as soon as the module ``name`` has been imported.

    At once, if it is there already. An import that fails does not count. ``sys.meta_path`` is as
    it was once the callback has been called, and in any case after the block. What ``callback``
    raises would end the importing script: it must not raise.

    Example:
        >>> import sys
        >>> finders, heard = list(sys.meta_path), []
        >>> _ = sys.modules.pop("this", None)
        >>> with when_imported("sys", lambda: heard.append("sys")):
        ...     heard
        ['sys']
        >>> sys.meta_path == finders
        True
    """
    if name in sys.modules:
        callback()
        yield
        return
    watch = _ImportWatch(name, callback)
    sys.meta_path.insert(0, watch)
    try:
        yield
    finally:
        watch.remove()


class _ImportWatch:
    """A finder that finds one module where the others find it, and tells when it has run."""

    def __init__(self, name: str, callback: Callable[[], None]) -> None:
        self.name = name
        self.callback: Callable[[], None] | None = callback

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != self.name or self.callback is None:
            return None
        finders = list(sys.meta_path)
        # Those before this one have been asked already, and may be what asks.
        for finder in finders[finders.index(self) + 1 :] if self in finders else []:
            find = getattr(finder, "find_spec", None)
            spec = find(name, path, target) if find else None
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _TellingLoader(spec.loader, self)
                return spec  # type: ignore[no-any-return]
        return None

    def arrived(self) -> None:
        callback, self.callback = self.callback, None
        self.remove()
        if callback is not None:
            callback()

    def remove(self) -> None:
        self.callback = None
        if self in sys.meta_path:
            sys.meta_path.remove(self)


class _TellingLoader:
    """The module's own loader, but for one word when it is done."""

    def __init__(self, loader: Any, watch: _ImportWatch) -> None:
        self._loader = loader
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        # Gone before the module's first line: it may look at its own loader.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._watch.arrived()

    # The interpreter leaves the frames of the import machinery out of tracebacks, by this name.
    exec_module.__code__ = exec_module.__code__.replace(co_filename="<frozen importlib._bootstrap>")
